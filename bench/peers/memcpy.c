/* Floor: the bytes of a payload copied there and back, in one process. What a call that copies them cannot go below. */
#define FLOOR_ALONE
#include "floor.h"

#include <string.h>
#include <sys/mman.h>

static uint8_t *here, *there;
static size_t payload_bytes;

static uint8_t *map(void)
{
    void *memory = mmap(NULL, payload_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    return memory;
}

/* Without it, the compiler would see that what is copied is never looked at. */
static void use(const uint8_t *memory)
{
    __asm__ volatile("" : : "r"(memory) : "memory");
}

static void call(void)
{
    memcpy(there, here, payload_bytes);
    use(there);
    memcpy(here, there, payload_bytes);
    use(here);
}

int main(int argc, char **argv)
{
    struct floor_arguments arguments = parse(argc, argv);
    if (arguments.payload_bytes == 0) {
        fprintf(stderr, "%s: PAYLOAD_BYTES is 0: there is nothing to copy; give 1 or more\n", argv[0]);
        return 2;
    }
    payload_bytes = arguments.payload_bytes;
    here = map();
    there = map();
    memset(here, 'x', payload_bytes);
    time_calls(arguments, call, 0);
    return 0;
}
