/* Lets one system call below a directory fail. Loaded with LD_PRELOAD.
 *
 * FAULT_DIR   only calls on files below it count
 * FAULT_SPEC  a file with "CALLS NUMBER ERROR": which calls count (a name below, or any), which of them fails first
 *             ("3" that one alone, "3+" it and all that follow), and how (a number of errno, or "short")
 * FAULT_LOG   a file that each failure is appended to
 * FAULT_COUNT set: at its end the program appends how many calls counted
 *
 * The file with the specification is read when the program starts; without one nothing fails.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char calls[32], how[32];
static long number, lasting, error_number, is_short;
static const char *below, *log_path;
static atomic_long count;

__attribute__((constructor)) static void begin(void) {
    const char *spec = getenv("FAULT_SPEC");
    char text[128] = "", when[32];
    below = getenv("FAULT_DIR");
    log_path = getenv("FAULT_LOG");
    if (!spec || !below || !log_path) return;
    long file = syscall(SYS_openat, AT_FDCWD, spec, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) return;
    long length = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    if (length <= 0 || sscanf(text, "%31s %31s %31s", calls, when, how) != 3) return;
    number = atol(when);
    lasting = strchr(when, '+') != NULL;
    is_short = strcmp(how, "short") == 0;
    error_number = atol(how);
}

static void note(const char *line, int length) {
    long file = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    syscall(SYS_write, file, line, length);
    syscall(SYS_close, file);
}

__attribute__((destructor)) static void end(void) {
    char line[64];
    if (number && getenv("FAULT_COUNT")) note(line, snprintf(line, sizeof line, "%ld\n", atomic_load(&count)));
}

static int is_below(const char *path) {
    return path && below && strncmp(path, below, strlen(below)) == 0;
}

static int fd_below(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path);
}

/* Whether this call fails. */
static int fails(const char *name, const char *path) {
    char line[512];
    if (!number || (strcmp(calls, "any") && strcmp(calls, name))) return 0;
    long at = atomic_fetch_add(&count, 1) + 1;
    if (lasting ? at < number : at != number) return 0;
    int length = snprintf(line, sizeof line, "%s %ld %s %s\n", name, at, how, path);
    note(line, length);
    errno = error_number;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ON_PATH(call, path, result) if (is_below(path) && !is_short && fails(call, path)) return result
#define ON_FD(call, fd, result) char at[512]; if (number && !is_short && fd_below(fd, at, sizeof at) && fails(call, at)) return result
/* Of a call on bytes a short one does half. */
#define ON_BYTES(call, fd, size) char at[512]; if (number && (!is_short || size > 1) && fd_below(fd, at, sizeof at) && fails(call, at)) { if (!is_short) return -1; size /= 2; }

#define OPEN(name) int name(const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    ON_PATH("open", path, -1); return REAL(name)(path, flags, mode); }
OPEN(open)
OPEN(open64)
#define OPENAT(name) int name(int dir, const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
    if (path[0] == '/') { ON_PATH("open", path, -1); } else if (dir >= 0) { ON_FD("open", dir, -1); } \
    return REAL(name)(dir, path, flags, mode); }
OPENAT(openat)
OPENAT(openat64)
DIR *opendir(const char *path) { ON_PATH("open", path, NULL); return REAL(opendir)(path); }
DIR *fdopendir(int fd) { ON_FD("open", fd, NULL); return REAL(fdopendir)(fd); }
struct dirent64 *readdir64(DIR *dir) { ON_FD("readdir", dirfd(dir), NULL); return REAL(readdir64)(dir); }

ssize_t read(int fd, void *bytes, size_t size) { ON_BYTES("read", fd, size) return REAL(read)(fd, bytes, size); }
ssize_t pread(int fd, void *bytes, size_t size, off_t from) { ON_BYTES("read", fd, size) return REAL(pread)(fd, bytes, size, from); }
ssize_t pread64(int fd, void *bytes, size_t size, off64_t from) { ON_BYTES("read", fd, size) return REAL(pread64)(fd, bytes, size, from); }
ssize_t write(int fd, const void *bytes, size_t size) { ON_BYTES("write", fd, size) return REAL(write)(fd, bytes, size); }
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t from) { ON_BYTES("write", fd, size) return REAL(pwrite)(fd, bytes, size, from); }
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t from) { ON_BYTES("write", fd, size) return REAL(pwrite64)(fd, bytes, size, from); }
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    ON_BYTES("write", out, size) return REAL(copy_file_range)(in, from, out, to, size, flags); }

int fsync(int fd) { ON_FD("sync", fd, -1); return REAL(fsync)(fd); }
int fdatasync(int fd) { ON_FD("sync", fd, -1); return REAL(fdatasync)(fd); }
int sync_file_range(int fd, off64_t from, off64_t size, unsigned flags) { ON_FD("sync", fd, -1); return REAL(sync_file_range)(fd, from, size, flags); }
int ftruncate(int fd, off_t size) { ON_FD("truncate", fd, -1); return REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { ON_FD("truncate", fd, -1); return REAL(ftruncate64)(fd, size); }
int flock(int fd, int what) { ON_FD("lock", fd, -1); return REAL(flock)(fd, what); }

int statx(int dir, const char *restrict path, int flags, unsigned mask, struct statx *restrict found) {
    if (path[0] == '/') { ON_PATH("stat", path, -1); } else if (dir >= 0) { ON_FD("stat", dir, -1); }
    return REAL(statx)(dir, path, flags, mask, found); }
int fstat64(int fd, struct stat64 *found) { ON_FD("stat", fd, -1); return REAL(fstat64)(fd, found); }
int stat64(const char *path, struct stat64 *found) { ON_PATH("stat", path, -1); return REAL(stat64)(path, found); }
int lstat64(const char *path, struct stat64 *found) { ON_PATH("stat", path, -1); return REAL(lstat64)(path, found); }

int rename(const char *from, const char *to) { ON_PATH("name", from, -1); return REAL(rename)(from, to); }
int unlink(const char *path) { ON_PATH("name", path, -1); return REAL(unlink)(path); }
int unlinkat(int dir, const char *path, int flags) { ON_FD("name", dir, -1); return REAL(unlinkat)(dir, path, flags); }
int rmdir(const char *path) { ON_PATH("name", path, -1); return REAL(rmdir)(path); }
int mkdir(const char *path, mode_t mode) { ON_PATH("name", path, -1); return REAL(mkdir)(path, mode); }
int linkat(int a, const char *from, int b, const char *to, int flags) { ON_PATH("name", from, -1); return REAL(linkat)(a, from, b, to, flags); }
