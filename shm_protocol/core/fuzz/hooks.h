/* Included before each file of the core when it is built for fuzzing (`-include`). The core itself is the real one; what
 * it asks of the system for its shared memory comes to harness.c instead:
 *
 * - a mapping becomes a part of an array whose edges AddressSanitizer knows; it knows none of a mapping of the kernel's
 * - before each look at shared memory the hostile peer has its turn
 * - an allocation is held against the limit that the channel has promised */
#ifndef FUZZ_HOOKS_H
#define FUZZ_HOOKS_H

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *fuzz_map(size_t bytes);
int fuzz_unmap(const void *memory);
void *fuzz_grow(void *memory, size_t bytes);
void fuzz_before_read(void);

#define mmap(address, bytes, protection, flags, fd, offset)                                                            \
    ((void)(protection), (void)(flags), (void)(fd), (void)(offset), fuzz_map(bytes))
#define munmap(memory, bytes) ((void)(bytes), fuzz_unmap(memory))
#define realloc(memory, bytes) fuzz_grow(memory, bytes)
#define memcpy(to, from, bytes) (fuzz_before_read(), memcpy(to, from, bytes))
/* Reading an _Atomic is a sequentially consistent load: never weaker than what was asked for. */
#undef atomic_load_explicit
#define atomic_load_explicit(word, order) (fuzz_before_read(), *(word))
/* The number of cores, which takes longer to find out than all the rest of an execution. */
#define sysconf(name) 2L

#endif
