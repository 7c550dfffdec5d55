/** What the oracle knows of the ciphers, with no code of the crypto servers that the device uses. */
import {createCipheriv, createDecipheriv, hkdfSync} from 'node:crypto';
import {innerKey} from '../support/memory-anchor.js';
import type {CryptoName} from './crypto-kind.js';
import type {OracleCipher, SealedBlock} from './oracle.js';
import {boundLabel, openQuick, sealQuick} from './quick-crypto.js';

const xtsKey = Buffer.from(hkdfSync('sha256', innerKey, '', 'cbe aes-256-xts block key', 64));

function tweakOf(address: number): Buffer {
	const tweak = Buffer.alloc(16);
	tweak.writeBigUInt64LE(BigInt(address));
	return tweak;
}

/** True where the tag fits the block at its place. */
function isAuthentic({content, label, address, vba, generation, keyId, key}: SealedBlock): boolean {
	const context = Buffer.alloc(40);
	context.write('CBE gcm\x01', 'latin1');
	for (const [i, value] of [address, vba, generation].entries()) {
		context.writeBigUInt64LE(BigInt(value), 8 * (i + 1));
	}

	context.writeUInt32LE(keyId, 32);
	const decipher = createDecipheriv(
		'aes-256-gcm',
		Buffer.from(hkdfSync('sha256', key, '', 'cbe aes-256-gcm block key', 32)),
		label.subarray(16, 28),
		{authTagLength: 16},
	);
	decipher.setAAD(context);
	decipher.setAuthTag(label.subarray(0, 16));
	decipher.update(content);
	try {
		decipher.final();
		return label.readUInt32LE(28) === 0;
	} catch {
		return false;
	}
}

/** Both ways, for containers that no device under test has made. */
export interface InnerCipher extends OracleCipher {
	sealInner(address: number, plain: Buffer): Buffer;
}

const quickCipher: InnerCipher = {
	openInner: (address, sealed) => openQuick(innerKey, address, sealed),
	sealInner: (address, plain) => sealQuick(innerKey, address, plain),
	isAuthentic: ({content, label, ...place}) => boundLabel(content, place).equals(label),
};

const realCipher: InnerCipher = {
	openInner: (address, sealed) => createDecipheriv('aes-256-xts', xtsKey, tweakOf(address)).update(sealed),
	sealInner: (address, plain) => createCipheriv('aes-256-xts', xtsKey, tweakOf(address)).update(plain),
	isAuthentic,
};

export function oracleCipherOf(name: CryptoName): InnerCipher {
	return name === 'quick' ? quickCipher : realCipher;
}
