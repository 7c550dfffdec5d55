/** Decrypts inner blocks for the oracle, with no code of the crypto servers that the device uses. */
import {createDecipheriv, hkdfSync} from 'node:crypto';
import {innerKey} from '../support/memory-anchor.js';
import type {CryptoName} from './crypto-kind.js';
import type {InnerOpener} from './oracle.js';
import {openQuick} from './quick-crypto.js';

const xtsKey = Buffer.from(hkdfSync('sha256', innerKey, '', 'cbe aes-256-xts block key', 64));

function openXts(address: number, sealed: Buffer): Buffer {
	const tweak = Buffer.alloc(16);
	tweak.writeBigUInt64LE(BigInt(address));
	return createDecipheriv('aes-256-xts', xtsKey, tweak).update(sealed);
}

export function innerOpenerOf(name: CryptoName): InnerOpener {
	return name === 'quick' ? (address, sealed) => openQuick(innerKey, address, sealed) : openXts;
}
