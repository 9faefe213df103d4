/* One ring: publish and consume, park, doorbell, waiting for room, close, and death of either side at any step.
 *
 * Checked exhaustively for RECORDS records through a ring that holds CAPACITY of them (`make model`):
 *   - no lost wake-up and no deadlock: no state in which a side sleeps and nobody will wake it (Spin: invalid end states);
 *   - what is read is what was published, once each and in order, and never a record half written (the assertions);
 *   - after the producer's end, dead or closed, the consumer reads all that was published, and ends;
 *   - after the consumer's end, a producer that waits for room ends too.
 *
 * The shared words have the names of core/ring.c, and the SYNC labels are the same (a test compares them). Steps are
 * interleaved one by one in a single order: that is what sequentially consistent stores and loads mean, and what the code
 * uses for these words. Left out: weaker orders (the orderings of C11, ThreadSanitizer, core/tests/ring_store_order.c),
 * sizes and padding of records, polling before a park (it only looks more often), time-outs (one would hide a lost
 * wake-up), hostile peers.
 *
 * Each variant below breaks one thing and must be found out: NO_RECHECK, STATE_BEFORE_TAIL, NO_ROOM_RECHECK,
 * WAITING_BEFORE_HEAD, TAIL_BEFORE_DATA, END_BEFORE_RING. */

#ifndef RECORDS
#define RECORDS 3
#endif
#ifndef CAPACITY
#define CAPACITY 2
#endif

#define PRODUCER 0
#define CONSUMER 1
#define HALF_WRITTEN 255

mtype = { AWAKE, PARKED };

byte slot[CAPACITY] = HALF_WRITTEN;
byte tail, head;
mtype consumer_state = AWAKE;
bool producer_waiting;

/* The socket: doorbells that each side has not read, and whether that side's end is closed. */
byte doorbells[2];
bool closed[2];

bool dies[2];

/* One more than a side can have use for: a full socket drops it, and wakes its reader anyway. */
inline ring_doorbell(side)
{
    d_step {
        if
        :: doorbells[side] < 2 -> doorbells[side]++
        :: else
        fi
    }
}

inline sleep_on_socket(side, peer)
{
    atomic {
        doorbells[side] > 0 || closed[peer] -> doorbells[side] = 0
    }
}

inline write_record()
{
    slot[tail % CAPACITY] = HALF_WRITTEN;
    slot[tail % CAPACITY] = number
}

/* SYNC: consumer parks. The exchange: one park costs one doorbell. */
inline wake_consumer()
{
    d_step {
        was_parked = (consumer_state == PARKED);
        consumer_state = AWAKE
    }
    if
    :: was_parked -> ring_doorbell(CONSUMER)
    :: else
    fi
}

inline read_record()
{
    assert(slot[head % CAPACITY] == head);
    received++;
#ifdef WAITING_BEFORE_HEAD
    was_waiting = producer_waiting;
    head++;
#else
    /* SYNC: record released, its bytes may be overwritten. SYNC: producer waits for room. */
    head++;
    was_waiting = producer_waiting;
#endif
    if
    :: was_waiting ->
        d_step {
            was_waiting = producer_waiting;
            producer_waiting = false
        }
        if
        :: was_waiting -> ring_doorbell(PRODUCER)
        :: else
        fi
    :: else
    fi
}

active proctype producer()
{
    byte number, cached_head;
    bool was_parked, stays_open;
    mtype state_seen;
    {
        if
        :: stays_open = true
        :: stays_open = false
        fi;
        do
        :: number == RECORDS -> break
        :: number < RECORDS ->
            do
            :: tail - cached_head < CAPACITY -> break
            :: else ->
                cached_head = head;
                if
                :: tail - cached_head < CAPACITY -> break
                :: else ->
                    /* SYNC: producer waits for room. */
                    producer_waiting = true;
#ifndef NO_ROOM_RECHECK
                    cached_head = head;
#endif
                    /* What shm_ring_await_room answers: 1, there is room, or 0, the consumer will ring. */
                    if
                    :: tail - cached_head < CAPACITY ->
                        producer_waiting = false;
                        break
                    :: else ->
                        sleep_on_socket(PRODUCER, CONSUMER);
                        if
                        :: closed[CONSUMER] -> goto ended
                        :: else
                        fi
                    fi
                fi
            od;
#if defined(TAIL_BEFORE_DATA)
            tail++;
            slot[(tail - 1) % CAPACITY] = number;
            state_seen = consumer_state;
#elif defined(STATE_BEFORE_TAIL)
            write_record();
            state_seen = consumer_state;
            tail++;
#else
            write_record();
            /* SYNC: record visible to consumer. SYNC: consumer parks. */
            tail++;
            state_seen = consumer_state;
#endif
            if
            :: state_seen == PARKED -> wake_consumer()
            :: else
            fi;
            number++
        od;
        /* One that closes at once would wake a consumer that nobody had woken. */
        if
        :: stays_open -> closed[CONSUMER]
        :: else
        fi;
ended:  skip
    } unless {
        dies[PRODUCER]
    };
    closed[PRODUCER] = true
}

active proctype consumer()
{
    byte received, tail_seen;
    bool was_waiting;
    {
        do
        :: received == RECORDS -> break
        :: received < RECORDS ->
            /* SYNC: record visible to consumer. */
            tail_seen = tail;
            if
            :: tail_seen != head -> read_record()
            :: else ->
                /* SYNC: consumer parks. */
                consumer_state = PARKED;
#ifndef NO_RECHECK
                /* SYNC: record visible to consumer. SYNC: consumer parks. */
                tail_seen = tail;
#endif
                /* What shm_ring_park answers: false, a record has come, or true, parked. */
                if
                :: tail_seen != head -> consumer_state = AWAKE
                :: else ->
                    sleep_on_socket(CONSUMER, PRODUCER);
                    consumer_state = AWAKE;
                    if
                    :: closed[PRODUCER] -> break
                    :: else
                    fi
                fi
            fi
        od;
#ifndef END_BEFORE_RING
        /* The socket is at its end, and the ring may hold what came before it. */
        do
        :: received < RECORDS && tail != head -> read_record()
        :: else -> break
        od;
#endif
        assert(head == tail || received == RECORDS);
        assert(received == RECORDS || dies[PRODUCER])
    } unless {
        dies[CONSUMER]
    };
    closed[CONSUMER] = true
}

/* Either side, both or neither dies, at any step. */
active proctype reaper()
{
    do
    :: !dies[PRODUCER] -> dies[PRODUCER] = true
    :: !dies[CONSUMER] -> dies[CONSUMER] = true
    :: break
    od
}
