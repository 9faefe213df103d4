/* Linked into the ThreadSanitizer variant only: maps a file once per process, whoever asks.
 *
 * ThreadSanitizer knows memory by its virtual address. Two channels over one segment map it twice, and what one
 * thread stores and the other loads would be strangers: no race and no synchronisation seen. The linker's --wrap
 * leads mmap and munmap here. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

void *__real_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *address, size_t bytes);
void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *address, size_t bytes);

static struct mapping {
    void *address; /* NULL: free */
    size_t bytes;
    dev_t device;
    ino_t inode;
    unsigned users;
} mappings[64];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void *__wrap_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    struct stat file;
    if (address != NULL || offset != 0 || (flags & MAP_SHARED) == 0 || fstat(fd, &file) < 0 || !S_ISREG(file.st_mode))
        return __real_mmap(address, bytes, protection, flags, fd, offset);
    pthread_mutex_lock(&mutex);
    struct mapping *found = NULL, *unused = NULL;
    for (size_t i = 0; i < sizeof mappings / sizeof mappings[0]; i++) {
        struct mapping *mapping = &mappings[i];
        if (mapping->address == NULL)
            unused = mapping;
        else if (mapping->device == file.st_dev && mapping->inode == file.st_ino && mapping->bytes == bytes)
            found = mapping;
    }
    void *memory;
    if (found != NULL) {
        found->users++;
        memory = found->address;
    } else {
        memory = __real_mmap(address, bytes, protection, flags, fd, offset);
        if (memory != MAP_FAILED && unused != NULL)
            *unused = (struct mapping){memory, bytes, file.st_dev, file.st_ino, 1};
    }
    pthread_mutex_unlock(&mutex);
    return memory;
}

int __wrap_munmap(void *address, size_t bytes)
{
    bool unmap = true;
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < sizeof mappings / sizeof mappings[0]; i++)
        if (mappings[i].address == address) {
            unmap = --mappings[i].users == 0;
            if (unmap)
                mappings[i].address = NULL;
        }
    pthread_mutex_unlock(&mutex);
    return unmap ? __real_munmap(address, bytes) : 0;
}
