/** The host's file or block device behind the image: opening, creating, sizes. */
import fs from 'node:fs';
import path from 'node:path';
import {StartError} from '../../runtime/sdk/component.js';
import {LockError, lockFile} from '../../runtime/sdk/file-lock.js';
import {isHostError} from './host-fault.js';

/** Only the owner may read or write an image. */
const imageMode = 0o600;

/** Sectors as the kernel's `size` attribute counts them, in bytes, whatever the device's own sector size. */
const kernelSectorSize = 512;

export interface ImageFile {
	readonly fd: number;
	readonly kind: 'file' | 'device';
	readonly byteLength: number;
}

function deviceNumbers(rdev: number): string {
	// Linux packs major and minor as 12 + 20 bits, the minor's upper bits above the major.
	const major = (rdev >>> 8) & 0xfff;
	const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xf_ff00);
	return `${major}:${minor}`;
}

function deviceByteLength(rdev: number): number {
	const sectors = fs.readFileSync(`/sys/dev/block/${deviceNumbers(rdev)}/size`, 'utf8');
	return Number(sectors) * kernelSectorSize;
}

function described(fd: number, imagePath: string): ImageFile {
	const stat = fs.fstatSync(fd);
	if (stat.isBlockDevice()) {
		return {fd, kind: 'device', byteLength: deviceByteLength(stat.rdev)};
	}

	if (!stat.isFile()) {
		throw new StartError(`${imagePath} is neither a file nor a block device; give the path of an image`);
	}

	return {fd, kind: 'file', byteLength: stat.size};
}

/** Two writers on one image would destroy it, and a reader beside a writer would see it torn. */
function lockImage(fd: number, imagePath: string): void {
	let isLocked: boolean;
	try {
		isLocked = lockFile(fd);
	} catch (error) {
		throw error instanceof LockError
			? new StartError(`the image ${imagePath} cannot be locked: ${error.message}`)
			: error;
	}

	if (!isLocked) {
		throw new StartError(
			`the image ${imagePath} is in use by another runtime or component; stop that one, or give each its own image`,
		);
	}
}

function closedOnFailure(fd: number, job: (fd: number) => ImageFile): ImageFile {
	try {
		return job(fd);
	} catch (error) {
		fs.closeSync(fd);
		throw error;
	}
}

function reasonOf(error: NodeJS.ErrnoException, readonly: boolean): string {
	switch (error.code) {
		case 'EACCES':
		case 'EPERM': {
			return `the user may not ${readonly ? 'read' : 'write'} it; change its permissions${readonly ? '' : ' or set readonly="yes"'}`;
		}

		case 'EROFS': {
			return 'its file system is read-only; set readonly="yes"';
		}

		case 'EISDIR': {
			return 'it is a directory; give the path of an image';
		}

		default: {
			return error.message;
		}
	}
}

/** Opens and locks an existing image; undefined where there is none. */
export function openImageFile(imagePath: string, readonly: boolean): ImageFile | undefined {
	let fd: number;
	try {
		fd = fs.openSync(imagePath, readonly ? 'r' : 'r+');
	} catch (error) {
		if (!isHostError(error)) {
			throw error;
		}

		if (error.code === 'ENOENT') {
			return undefined;
		}

		throw new StartError(`cannot open ${imagePath}: ${reasonOf(error, readonly)}`);
	}

	return closedOnFailure(fd, () => {
		lockImage(fd, imagePath);
		if (!readonly) {
			settleName(imagePath);
		}

		return described(fd, imagePath);
	});
}

/** Makes a new sparse image. Durable, with its name, when it returns. Never touches a file that exists. */
export function createImageFile(imagePath: string, byteLength: number): ImageFile {
	const fd = fs.openSync(imagePath, 'wx+', imageMode);
	return closedOnFailure(fd, () => {
		lockImage(fd, imagePath);
		fs.ftruncateSync(fd, byteLength);
		fs.fsyncSync(fd);
		syncDirectory(path.dirname(imagePath));
		return {fd, kind: 'file', byteLength};
	});
}

/**
 * The run that made the image may have been cut off before its name was durable. Who may not read the folder has not
 * made it.
 */
function settleName(imagePath: string): void {
	try {
		syncDirectory(path.dirname(imagePath));
	} catch (error) {
		if (!isHostError(error) || !['EACCES', 'EPERM', 'EROFS', 'EINVAL'].includes(error.code ?? '')) {
			throw new StartError(
				`the folder of ${imagePath} cannot be made durable: ${error instanceof Error ? error.message : String(error)}; start again once its file system works`,
			);
		}
	}
}

function syncDirectory(directory: string): void {
	const fd = fs.openSync(directory, 'r');
	try {
		fs.fsyncSync(fd);
	} finally {
		fs.closeSync(fd);
	}
}
