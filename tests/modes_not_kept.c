/* Preloaded: chmod(2) succeeds and changes nothing, as on a file system that has no modes and is mounted to say so. */
#define _GNU_SOURCE
#include <sys/stat.h>

int chmod(const char *path, mode_t mode)
{
    (void)path;
    (void)mode;
    return 0;
}
