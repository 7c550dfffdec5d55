import {closeSync, mkdtempSync, openSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import koffi from 'koffi';
import {LockError, lockErrorOf, lockFile} from './file-lock.js';

test('a lock is held by one descriptor, and ends with it', t => {
	const folder = mkdtempSync(join(tmpdir(), 'cbe-'));
	const path = join(folder, 'file');
	const [one, other] = [openSync(path, 'w'), openSync(path, 'r')];
	t.true(lockFile(one));
	t.false(lockFile(other));
	closeSync(one);
	t.true(lockFile(other));
	closeSync(other);
	rmSync(folder, {recursive: true});
	t.throws(() => lockFile(-1), {instanceOf: LockError, code: 'EBADF'});
});

test('what a file system answers is told by name, with the reason and a remedy', t => {
	const {ENOLCK, EOPNOTSUPP, ENOSYS, EIO, ENXIO} = koffi.os.errno;
	t.regex(
		lockErrorOf(ENOLCK).message,
		/^its file system has no locks to give; on NFS, start the lock service .* \(ENOLCK\)$/,
	);
	t.regex(lockErrorOf(EOPNOTSUPP).message, /knows no locks; keep it on another one \((?:EOPNOTSUPP)\)$/);
	t.regex(lockErrorOf(ENOSYS).message, /knows no locks; keep it on another one \(ENOSYS\)$/);
	t.regex(lockErrorOf(EIO).message, /does not answer; see whether the server .* \(EIO\)$/);
	t.is(lockErrorOf(ENXIO).message, 'its file system does not lock it; keep it on another one (ENXIO)');
	t.is(lockErrorOf(4711).message, 'its file system does not lock it; keep it on another one (error 4711)');
});
