/* Arbitrary bytes as the whole segment: header, words of both rings and data, in a file of any size. */
#include "harness.h"

/* Of two rings that may be, and of none. */
static const size_t file_sizes[] = {
    SEGMENT_BYTES,     (size_t)SHM_HEADER_BYTES + 4 * CAPACITY, SEGMENT_BYTES - 1, SEGMENT_BYTES + 8, SHM_HEADER_BYTES,
    SHM_HEADER_BYTES - 1, 0,
};

static void write_next(struct input *input, size_t offset, size_t count)
{
    const size_t left = (size_t)(input->end - input->at);
    const size_t written = count < left ? count : left;
    peer_write(offset, input->at, written);
    input->at += written;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    const size_t file_bytes = file_sizes[take(&input, 1) % (sizeof file_sizes / sizeof file_sizes[0])];
    const uint32_t max_message = (uint32_t)take(&input, 2);
    segment_begin(file_bytes);
    /* Whatever is between these is read by nobody: the harness sees to it. */
    write_next(&input, 0, offsetof(struct shm_segment_header, segment_bytes) + 8);
    for (size_t ring = 0; ring < SHM_RING_COUNT; ring++) {
        const size_t words = offsetof(struct shm_segment_header, rings) + ring * sizeof(struct shm_ring_words);
        write_next(&input, words + offsetof(struct shm_ring_words, tail), 8);
        write_next(&input, words + offsetof(struct shm_ring_words, head), 8);
        write_next(&input, words + offsetof(struct shm_ring_words, consumer_state), 4);
        write_next(&input, words + offsetof(struct shm_ring_words, producer_waiting), 4);
    }
    write_next(&input, SHM_HEADER_BYTES, file_bytes);

    shm_channel *channel;
    if (channel_open(&channel, max_message) < 0)
        return 0;
    /* Nobody writes any more, so that a record of 8 bytes at least is taken each time. */
    for (size_t messages = 0; receive(channel, max_message) == 1; messages++) {
        MUST(messages < file_bytes / SHM_RECORD_ALIGN);
        shm_channel_consume(channel);
    }
    (void)transmit(channel, max_message);
    channel_close(channel);
    return 0;
}
