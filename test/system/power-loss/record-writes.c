/*
 * Preloaded into the program: records what it does to the files of a folder, and when it syncs them and their directories, in the
 * order in which it happens, so that a test can rebuild what a loss of power may leave. Before a chosen sync it ends the process
 * instead.
 *
 * RECORD_FOLDER  absolute path of the folder
 * RECORD_TO      file that the events are appended to
 * RECORD_KILL    "NAME:N": the process ends before the Nth sync of the file or directory of that name, counted from 1; "*:N" before
 *                the Nth sync of any
 *
 * Event, little-endian: kind 1 · length of the name 1 · length of the data 4 · offset 8 · length 8 · inode 8 · thread 4 · name · data.
 * Kinds: W written (the data), T truncated, G grown, Z zeroed; B sync begun, E sync ended; C file made, M directory made,
 * R renamed (the data is the new name), U removed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct __attribute__((packed)) event {
	char kind;
	uint8_t name_length;
	uint32_t data_length;
	uint64_t offset;
	uint64_t length;
	uint64_t inode;
	uint32_t thread;
};

enum { name_size = 256, name_length_max = 200 };

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int record = -1;
static const char *folder = "";
static const char *kill_name = "";
static int syncs_left = -1;

__attribute__((constructor)) static void begin(void)
{
	const char *to = getenv("RECORD_TO");
	const char *kill_at = getenv("RECORD_KILL");
	folder = getenv("RECORD_FOLDER") ? getenv("RECORD_FOLDER") : "";
	if (to)
		record = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (kill_at && strchr(kill_at, ':')) {
		syncs_left = atoi(strchr(kill_at, ':') + 1);
		kill_name = strndup(kill_at, strchr(kill_at, ':') - kill_at);
	}
}

/* The name within the folder, "." for itself; 0 where the path leads elsewhere. */
static int within(const char *path, char *name)
{
	size_t prefix = strlen(folder);
	if (record < 0 || prefix == 0 || strncmp(path, folder, prefix) != 0 || (path[prefix] != '/' && path[prefix] != 0))
		return 0;
	if (path[prefix] == 0)
		return snprintf(name, name_size, ".") > 0;
	return snprintf(name, name_size, "%s", path + prefix + 1) < name_length_max;
}

/* The same of an open file, with its inode. */
static int name_of(int file, char *name, uint64_t *inode)
{
	char link[64], path[PATH_MAX];
	struct stat status;
	if (record < 0 || fstat(file, &status) != 0 || !(S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)))
		return 0;
	*inode = status.st_ino;
	snprintf(link, sizeof link, "/proc/self/fd/%d", file);
	ssize_t length = readlink(link, path, sizeof path - 1);
	if (length < 0)
		return 0;
	path[length] = 0;
	return within(path, name);
}

static void note(char kind, const char *name, uint64_t inode, uint64_t offset, uint64_t length, const void *data)
{
	struct event event = {kind, strlen(name), data ? length : 0, offset, length, inode, gettid()};
	struct iovec parts[3] = {{&event, sizeof event}, {(void *) name, strlen(name)}, {(void *) data, event.data_length}};
	syscall(SYS_writev, record, parts, 3);
}

/* Events lie in the order of what they tell: each change happens, and is noted, in one turn. */

ssize_t pwrite64(int file, const void *data, size_t length, off_t offset)
{
	char name[name_size];
	uint64_t inode;
	if (!name_of(file, name, &inode))
		return syscall(SYS_pwrite64, file, data, length, offset);
	pthread_mutex_lock(&turn);
	ssize_t written = syscall(SYS_pwrite64, file, data, length, offset);
	int error = errno;
	if (written > 0)
		note('W', name, inode, offset, written, data);
	pthread_mutex_unlock(&turn);
	errno = error;
	return written;
}

ssize_t pwrite(int file, const void *data, size_t length, off_t offset)
{
	return pwrite64(file, data, length, offset);
}

ssize_t pwritev64(int file, const struct iovec *parts, int count, off_t offset)
{
	ssize_t total = 0;
	for (int i = 0; i < count; i++) {
		ssize_t written = pwrite64(file, parts[i].iov_base, parts[i].iov_len, offset + total);
		if (written < 0)
			return total > 0 ? total : written;
		total += written;
		if ((size_t) written < parts[i].iov_len)
			break;
	}
	return total;
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset)
{
	return pwritev64(file, parts, count, offset);
}

ssize_t write(int file, const void *data, size_t length)
{
	char name[name_size];
	uint64_t inode;
	if (file == record || !name_of(file, name, &inode))
		return syscall(SYS_write, file, data, length);
	pthread_mutex_lock(&turn);
	ssize_t written = syscall(SYS_write, file, data, length);
	int error = errno;
	if (written > 0)
		note('W', name, inode, lseek(file, 0, SEEK_CUR) - written, written, data);
	pthread_mutex_unlock(&turn);
	errno = error;
	return written;
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
	char name[name_size];
	uint64_t inode;
	if (file == record || !name_of(file, name, &inode))
		return syscall(SYS_writev, file, parts, count);
	ssize_t total = 0;
	for (int i = 0; i < count; i++) {
		ssize_t written = write(file, parts[i].iov_base, parts[i].iov_len);
		if (written < 0)
			return total > 0 ? total : written;
		total += written;
		if ((size_t) written < parts[i].iov_len)
			break;
	}
	return total;
}

static int sync_file(int file, int call)
{
	char name[name_size];
	uint64_t inode;
	if (!name_of(file, name, &inode))
		return syscall(call, file);
	pthread_mutex_lock(&turn);
	const char *last = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
	if (syncs_left > 0 && (strcmp(kill_name, "*") == 0 || strcmp(last, kill_name) == 0) && --syncs_left == 0) {
		kill(getpid(), SIGKILL);
		pause();
	}
	note('B', name, inode, 0, 0, 0);
	pthread_mutex_unlock(&turn);
	int result = syscall(call, file);
	int error = errno;
	pthread_mutex_lock(&turn);
	if (result == 0)
		note('E', name, inode, 0, 0, 0);
	pthread_mutex_unlock(&turn);
	errno = error;
	return result;
}

int fdatasync(int file)
{
	return sync_file(file, SYS_fdatasync);
}

int fsync(int file)
{
	return sync_file(file, SYS_fsync);
}

int ftruncate64(int file, off_t length)
{
	char name[name_size];
	uint64_t inode;
	int known = name_of(file, name, &inode);
	pthread_mutex_lock(&turn);
	int result = syscall(SYS_ftruncate, file, length);
	int error = errno;
	if (known && result == 0)
		note('T', name, inode, 0, length, 0);
	pthread_mutex_unlock(&turn);
	errno = error;
	return result;
}

int ftruncate(int file, off_t length)
{
	return ftruncate64(file, length);
}

int fallocate64(int file, int mode, off_t offset, off_t length)
{
	char name[name_size];
	uint64_t inode;
	int known = name_of(file, name, &inode);
	pthread_mutex_lock(&turn);
	int result = syscall(SYS_fallocate, file, mode, offset, length);
	int error = errno;
	if (known && result == 0 && mode == 0)
		note('G', name, inode, 0, offset + length, 0);
	else if (known && result == 0 && mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		note('Z', name, inode, offset, length, 0);
	pthread_mutex_unlock(&turn);
	errno = error;
	return result;
}

int fallocate(int file, int mode, off_t offset, off_t length)
{
	return fallocate64(file, mode, offset, length);
}

int openat64(int directory, const char *path, int flags, ...)
{
	mode_t mode = 0;
	if (flags & (O_CREAT | O_TMPFILE)) {
		va_list rest;
		va_start(rest, flags);
		mode = va_arg(rest, mode_t);
		va_end(rest);
	}
	if (record < 0 || !(flags & (O_CREAT | O_TRUNC)))
		return syscall(SYS_openat, directory, path, flags, mode);
	pthread_mutex_lock(&turn);
	int was_there = faccessat(directory, path, F_OK, 0) == 0;
	int file = syscall(SYS_openat, directory, path, flags, mode);
	int error = errno;
	char name[name_size];
	uint64_t inode;
	if (file >= 0 && name_of(file, name, &inode)) {
		if (!was_there)
			note('C', name, inode, 0, 0, 0);
		else if (flags & O_TRUNC)
			note('T', name, inode, 0, 0, 0);
	}
	pthread_mutex_unlock(&turn);
	errno = error;
	return file;
}

#define OPEN(function, ...) \
	int function(__VA_ARGS__ const char *path, int flags, ...) \
	{ \
		va_list rest; \
		va_start(rest, flags); \
		mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
		va_end(rest); \
		return openat64(OPEN_AT, path, flags, mode); \
	}

#define COMMA ,
#define OPEN_AT AT_FDCWD
OPEN(open64)
OPEN(open)
#undef OPEN_AT
#define OPEN_AT directory
OPEN(openat, int directory COMMA)

int rename(const char *from, const char *to)
{
	char old_name[name_size], new_name[name_size];
	pthread_mutex_lock(&turn);
	int result = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
	int error = errno;
	if (result == 0 && within(from, old_name) && within(to, new_name))
		note('R', old_name, 0, 0, strlen(new_name), new_name);
	pthread_mutex_unlock(&turn);
	errno = error;
	return result;
}

static int removed(const char *path, int flags)
{
	char name[name_size];
	pthread_mutex_lock(&turn);
	int result = syscall(SYS_unlinkat, AT_FDCWD, path, flags);
	int error = errno;
	if (result == 0 && within(path, name))
		note('U', name, 0, 0, 0, 0);
	pthread_mutex_unlock(&turn);
	errno = error;
	return result;
}

int unlink(const char *path)
{
	return removed(path, 0);
}

int rmdir(const char *path)
{
	return removed(path, AT_REMOVEDIR);
}

int mkdir(const char *path, mode_t mode)
{
	char name[name_size];
	struct stat status;
	pthread_mutex_lock(&turn);
	int result = syscall(SYS_mkdirat, AT_FDCWD, path, mode);
	int error = errno;
	if (result == 0 && within(path, name) && stat(path, &status) == 0)
		note('M', name, status.st_ino, 0, 0, 0);
	pthread_mutex_unlock(&turn);
	errno = error;
	return result;
}
