/* Put before the C library by LD_PRELOAD: from the n-th write on below a folder the disk is full, until it is told
   otherwise. Python calls full_disk_from and full_disk_writes by ctypes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char below[4096];
static atomic_long writes, full_from, once;

void full_disk_from(const char *folder, long number, long only_once) {
    full_from = 0;
    strncpy(below, folder, sizeof below - 1);
    writes = 0;
    once = only_once;
    full_from = number;
}

long full_disk_writes(void) { return writes; }

static int counts(const char *path) {
    if (!full_from || strncmp(path, below, strlen(below)) != 0) return 0;
    long number = ++writes;
    if (once ? number != full_from : number < full_from) return 0;
    errno = ENOSPC;
    return 1;
}

static int is_full(int handle) {
    char link[64], path[4096];
    if (!full_from) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return counts(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
ssize_t write(int h, const void *d, size_t n) { return is_full(h) ? -1 : REAL(write)(h, d, n); }
ssize_t pwrite(int h, const void *d, size_t n, off_t o) { return is_full(h) ? -1 : REAL(pwrite)(h, d, n, o); }
ssize_t pwrite64(int h, const void *d, size_t n, off64_t o) { return is_full(h) ? -1 : REAL(pwrite64)(h, d, n, o); }
ssize_t writev(int h, const struct iovec *v, int n) { return is_full(h) ? -1 : REAL(writev)(h, v, n); }
int fsync(int h) { return is_full(h) ? -1 : REAL(fsync)(h); }
int mkdir(const char *p, mode_t m) { return counts(p) ? -1 : REAL(mkdir)(p, m); }

#define OPENING(name)                                                    \
    int name(const char *path, int flags, ...) {                         \
        va_list list;                                                    \
        va_start(list, flags);                                           \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; \
        va_end(list);                                                    \
        if ((flags & O_CREAT) && counts(path)) return -1;                \
        return REAL(name)(path, flags, mode);                            \
    }
OPENING(open)
OPENING(open64)
