/** Where memory lies, for native functions: as an argument a plain number costs a fraction of what a buffer costs. */
import koffi from 'koffi';

/** By memory, remembered: neither an ArrayBuffer nor shared memory ever moves. */
const addresses = new WeakMap<ArrayBufferLike, number>();

/** Where `bytes` begins. Valid as long as the memory behind it is reachable, which its caller sees to. */
export function addressOf({buffer, byteOffset}: Uint8Array): number {
	let address = addresses.get(buffer);
	if (address === undefined) {
		address = Number(koffi.address(new Uint8Array(buffer)));
		addresses.set(buffer, address);
	}

	return address + byteOffset;
}
