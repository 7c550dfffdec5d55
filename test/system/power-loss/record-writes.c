/*
 * Preloaded into the program: records what it writes to the files of a folder, and when it syncs them, in the order in which it
 * happens, so that a test can rebuild what a loss of power may leave. Before a chosen sync it ends the process instead.
 *
 * RECORD_FOLDER  absolute path of the folder
 * RECORD_TO      file that the events are appended to
 * RECORD_KILL    "NAME:N": the process ends before the Nth sync of the file of that name, counted from 1
 *
 * Event, little-endian: kind 1 (W written, B sync begun, E sync ended, T truncated, G grown, Z zeroed) · length of the name 1 · length of the
 * data 4 · offset 8 · length 8 · name · data of a write.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct __attribute__((packed)) event {
	char kind;
	uint8_t name_length;
	uint32_t data_length;
	uint64_t offset;
	uint64_t length;
};

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

/* The name within the folder, "." for itself; 0 where the file is none of it. */
static int name_of(int file, char *name, size_t size)
{
	char link[64], path[1024];
	snprintf(link, sizeof link, "/proc/self/fd/%d", file);
	ssize_t length = record < 0 ? -1 : readlink(link, path, sizeof path - 1);
	size_t prefix = strlen(folder);
	if (length < 0 || prefix == 0)
		return 0;
	path[length] = 0;
	if (strncmp(path, folder, prefix) != 0 || (path[prefix] != '/' && path[prefix] != 0))
		return 0;
	if (path[prefix] == 0)
		return snprintf(name, size, ".") > 0;
	return snprintf(name, size, "%s", path + prefix + 1) < 200;
}

static void note(char kind, const char *name, uint64_t offset, uint64_t length, const void *data)
{
	struct event event = {kind, strlen(name), data ? length : 0, offset, length};
	struct iovec parts[3] = {{&event, sizeof event}, {(void *) name, strlen(name)}, {(void *) data, event.data_length}};
	syscall(SYS_writev, record, parts, 3);
}

ssize_t pwrite64(int file, const void *data, size_t length, off_t offset)
{
	char name[256];
	if (!name_of(file, name, sizeof name))
		return syscall(SYS_pwrite64, file, data, length, offset);
	/* Events lie in the order of what they tell. */
	pthread_mutex_lock(&turn);
	ssize_t written = syscall(SYS_pwrite64, file, data, length, offset);
	int error = errno;
	if (written > 0)
		note('W', name, offset, written, data);
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

static int sync_file(int file, int call)
{
	char name[256];
	if (!name_of(file, name, sizeof name))
		return syscall(call, file);
	pthread_mutex_lock(&turn);
	const char *last = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
	if (syncs_left > 0 && strcmp(last, kill_name) == 0 && --syncs_left == 0) {
		kill(getpid(), SIGKILL);
		pause();
	}
	note('B', name, 0, 0, 0);
	pthread_mutex_unlock(&turn);
	int result = syscall(call, file);
	int error = errno;
	pthread_mutex_lock(&turn);
	if (result == 0)
		note('E', name, 0, 0, 0);
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
	char name[256];
	int known = name_of(file, name, sizeof name);
	pthread_mutex_lock(&turn);
	int result = syscall(SYS_ftruncate, file, length);
	int error = errno;
	if (known && result == 0)
		note('T', name, 0, length, 0);
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
	char name[256];
	int known = name_of(file, name, sizeof name);
	pthread_mutex_lock(&turn);
	int result = syscall(SYS_fallocate, file, mode, offset, length);
	int error = errno;
	if (known && result == 0 && mode == 0)
		note('G', name, 0, offset + length, 0);
	else if (known && result == 0 && mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		note('Z', name, offset, length, 0);
	pthread_mutex_unlock(&turn);
	errno = error;
	return result;
}

int fallocate(int file, int mode, off_t offset, off_t length)
{
	return fallocate64(file, mode, offset, length);
}
