/* Two processes exchange random messages through small rings, both ways at once, and verify every byte.
 *
 * One side blocks in shm_channel_wait as Python does, the other polls and parks as an event loop does. Budgets of
 * nothing, adaptive and long bring about parking, waiting for room and polling. ThreadSanitizer sees one process only:
 * in its variant the two sides are threads, with one mapping (one_mapping.c). */
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "channels.h"

#if defined(__SANITIZE_THREAD__)
#define EFFORT 2
#elif defined(__SANITIZE_ADDRESS__)
#define EFFORT 3
#else
#define EFFORT 5
#endif

struct round {
    uint32_t capacity;
    int64_t spin_us;
    bool ping_pong; /* else both sides stream at once */
    uint32_t messages;
    uint64_t seed;
};

struct side {
    const struct round *round;
    enum shm_side which;
    shm_channel *channel;
    int socket_fd;
    uint8_t *message;      /* the one being sent */
    uint64_t full, looked; /* how often the ring was full, and a wait was over without a park */
};

/* What the side `from` sends as its message number `number`: known to both sides. */
static uint64_t message_seed(const struct round *round, enum shm_side from, uint32_t number)
{
    uint64_t state = round->seed + 2 * (uint64_t)number + (uint64_t)from;
    return random_next(&state);
}

static size_t message_length(const struct round *round, enum shm_side from, uint32_t number)
{
    uint64_t state = message_seed(round, from, number);
    switch (random_below(&state, 16)) {
    case 0:
        return 0;
    case 1:
        return random_below(&state, 4 * round->capacity);
    case 2:
    case 3:
    case 4:
        return random_below(&state, round->capacity / 4);
    case 5:
        return round->capacity / 4 - 8 + random_below(&state, 17);
    default:
        return random_below(&state, 200);
    }
}

static bool try_send(struct side *side, uint32_t number)
{
    const size_t length = message_length(side->round, side->which, number);
    if (!shm_channel_is_sending(side->channel))
        pattern_fill(side->message, length, message_seed(side->round, side->which, number));
    int rc = shm_channel_send(side->channel, side->message, length);
    CHECK(rc == 0 || rc == -EAGAIN);
    side->full += rc != 0;
    return rc == 0;
}

static bool try_receive(struct side *side, uint32_t number)
{
    const enum shm_side from = side->which == SHM_DIALER ? SHM_ACCEPTOR : SHM_DIALER;
    const uint8_t *message;
    size_t length;
    int rc = shm_channel_peek(side->channel, &message, &length);
    CHECK(rc == 0 || rc == 1);
    if (rc == 0)
        return false;
    CHECK_EQUAL(length, message_length(side->round, from, number));
    CHECK_PATTERN(message, length, message_seed(side->round, from, number));
    shm_channel_consume(side->channel);
    return true;
}

static void await(struct side *side)
{
    const uint64_t parks = stats_of(side->channel).parks;
    if (side->which == SHM_DIALER) {
        CHECK_EQUAL(wait_through_signals(side->channel), 1);
    } else {
        int rc;
        while ((rc = shm_channel_poll(side->channel, 5000)) != 1) {
            if (rc == 0)
                continue;
            CHECK_EQUAL(rc, -EAGAIN);
            struct pollfd socket = {.fd = side->socket_fd, .events = POLLIN};
            CHECK_EQUAL(poll(&socket, 1, -1), 1);
            shm_channel_unpark(side->channel);
            rc = shm_channel_drain_doorbell(side->channel);
            /* The other side may be done and gone; what it sent is in the ring. */
            CHECK(rc == 0 || rc == -EPIPE);
        }
    }
    side->looked += stats_of(side->channel).parks == parks;
}

static void ping_pong(struct side *side)
{
    for (uint32_t i = 0; i < side->round->messages; i++) {
        if (side->which == SHM_DIALER)
            while (!try_send(side, i))
                await(side);
        while (!try_receive(side, i))
            await(side);
        if (side->which == SHM_ACCEPTOR)
            while (!try_send(side, i))
                await(side);
    }
}

static void stream(struct side *side)
{
    uint32_t sent = 0, received = 0;
    while (sent < side->round->messages || received < side->round->messages) {
        while (received < side->round->messages && try_receive(side, received))
            received++;
        if (sent < side->round->messages && try_send(side, sent))
            sent++;
        else if (sent < side->round->messages || received < side->round->messages)
            await(side);
    }
}

static void run_side(struct side *side)
{
    side->message = malloc(4 * (size_t)side->round->capacity);
    CHECK(side->message != NULL);
    if (side->round->ping_pong)
        ping_pong(side);
    else
        stream(side);
    const struct shm_channel_stats stats = stats_of(side->channel);
    CHECK_EQUAL(stats.messages_sent, side->round->messages);
    CHECK_EQUAL(stats.messages_received, side->round->messages);
    /* One that polls waits for room within shm_channel_send, and may not see it full. */
    if (side->round->spin_us == 0)
        CHECK(side->full > 0 && stats.parks > 0 && stats.doorbells_rung > 0);
    fprintf(stderr, "ring %u, spin %lld us, %s, %s: ", side->round->capacity, (long long)side->round->spin_us,
            side->round->ping_pong ? "ping-pong" : "stream", side->which == SHM_DIALER ? "dialer" : "acceptor");
    fprintf(stderr, "%llu times full, %llu parks, %llu doorbells rung, %llu waits without a park\n",
            (unsigned long long)side->full, (unsigned long long)stats.parks, (unsigned long long)stats.doorbells_rung,
            (unsigned long long)side->looked);
    free(side->message);
}

#if defined(__SANITIZE_THREAD__)

static void *run_thread(void *argument)
{
    run_side(argument);
    return NULL;
}

static void run_both(struct pair *pair, struct side *dialer, struct side *acceptor)
{
    pthread_t thread;
    (void)pair;
    CHECK_EQUAL(pthread_create(&thread, NULL, run_thread, acceptor), 0);
    run_side(dialer);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
}

#else

/* Each process keeps its own side only, so that one that fails shows as a dead peer to the other. */
static void run_both(struct pair *pair, struct side *dialer, struct side *acceptor)
{
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(HANG_SECONDS);
        pair_close_dialer(pair);
        run_side(acceptor);
        pair_close(pair);
        exit(0);
    }
    shm_channel_close(pair->acceptor);
    pair->acceptor = NULL;
    close(pair->sockets[SHM_ACCEPTOR]);
    pair->sockets[SHM_ACCEPTOR] = -1;
    run_side(dialer);
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

#endif

static void run_round(uint32_t capacity, int64_t spin_us, bool ping_pong, uint32_t messages, uint64_t seed)
{
    const struct round round = {capacity, spin_us, ping_pong, messages, seed};
    struct pair pair;
    pair_open(&pair, capacity, 4 * capacity, spin_us);
    struct side dialer = {&round, SHM_DIALER, pair.dialer, pair.sockets[SHM_DIALER], NULL, 0, 0};
    struct side acceptor = {&round, SHM_ACCEPTOR, pair.acceptor, pair.sockets[SHM_ACCEPTOR], NULL, 0, 0};
    run_both(&pair, &dialer, &acceptor);
    pair_close(&pair);
}

static void every_message_arrives_once_in_order_and_unaltered(void)
{
    static const int64_t spins_us[] = {0, -1, 200};
    uint64_t seed = random_seed();
    for (size_t i = 0; i < sizeof spins_us / sizeof spins_us[0]; i++)
        for (int ping_pong = 0; ping_pong < 2; ping_pong++) {
            run_round(4 * 1024, spins_us[i], ping_pong, 2500 * EFFORT, random_next(&seed));
            run_round(256 * 1024, spins_us[i], ping_pong, 250 * EFFORT, random_next(&seed));
        }
}

int main(void)
{
    RUN(every_message_arrives_once_in_order_and_unaltered);
    return 0;
}
