/* Floor: a round trip over two of the bridge's own rings, C to C, both sides polling. No language, no encoding. */
#include "floor.h"

#include <string.h>
#include <sys/mman.h>

#include "ring.h"

#define CAPACITY SHM_RING_CAPACITY_MIN
#define MOST_BYTES (CAPACITY / 4)

static uint8_t sent[MOST_BYTES];
static uint32_t payload_bytes;

static struct shm_producer to_callee, to_caller;
static struct shm_consumer at_callee, at_caller;

static void send_payload(struct shm_producer *producer)
{
    void *payload;
    if (shm_ring_claim(producer, payload_bytes, &payload) != 1)
        abort();
    memcpy(payload, sent, payload_bytes);
    shm_ring_publish(producer, 0);
}

static void receive_payload(struct shm_consumer *consumer)
{
    const uint8_t *payload;
    uint32_t length, flags;
    int rc;
    while ((rc = shm_ring_peek(consumer, &payload, &length, &flags)) == 0)
        ;
    if (rc < 0 || length != payload_bytes || memcmp(payload, sent, length) != 0)
        abort();
    shm_ring_release(consumer);
}

static void callee(void)
{
    receive_payload(&at_callee);
    send_payload(&to_caller);
}

static void call(void)
{
    send_payload(&to_callee);
    receive_payload(&at_caller);
}

int main(int argc, char **argv)
{
    struct floor_arguments arguments = parse(argc, argv);
    if (arguments.payload_bytes < 1 || arguments.payload_bytes > MOST_BYTES) {
        fprintf(stderr, "%s: PAYLOAD_BYTES is %s: from 1 to %d\n", argv[0], argv[5], MOST_BYTES);
        return 2;
    }
    payload_bytes = (uint32_t)arguments.payload_bytes;
    memset(sent, 'x', payload_bytes);
    uint8_t *memory = mmap(NULL, SHM_HEADER_BYTES + 2 * CAPACITY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    struct shm_segment_header *header = (struct shm_segment_header *)memory;
    uint8_t *data = memory + SHM_HEADER_BYTES;
    shm_producer_init(&to_callee, &header->rings[0], data, CAPACITY);
    shm_consumer_init(&at_callee, &header->rings[0], data, CAPACITY);
    shm_producer_init(&to_caller, &header->rings[1], data + CAPACITY, CAPACITY);
    shm_consumer_init(&at_caller, &header->rings[1], data + CAPACITY, CAPACITY);
    return run_floor(arguments, callee, call);
}
