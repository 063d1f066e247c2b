/* test_log_ring.c: rings from several threads: nothing lost while the sink is quick, nothing torn, order kept. */
#include "log_tools.h"

#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 4, RECORDS = 4000, LONGEST = 200 };

struct producer {
    pthread_t thread;
    unsigned number;
    struct log_sink *sink;
    bool insists; /* tries again when the ring is full */
};

/* "<thread> <sequence> <fill>\n", of a length that differs from record to record. */
static size_t render(char *at, unsigned thread, unsigned sequence) {
    size_t n = (size_t)sprintf(at, "%u %05u ", thread, sequence), len = 10 + (thread * 31 + sequence * 7) % 180;
    memset(at + n, (int)('a' + sequence % 26), len);
    at[n + len] = '\n';
    return n + len + 1;
}

static void *produce(void *arg) {
    struct producer *p = arg;
    for (unsigned i = 0; i < RECORDS; i++) {
        char *at;
        while (!(at = log_reserve(p->sink, LONGEST)) && p->insists) {
            log_flush();
            sched_yield();
        }
        if (at) log_commit(render(at, p->number, i));
        if (i % 5 == 0) log_flush();
    }
    log_flush();
    log_thread_end();
    return NULL;
}

static void produce_all(struct log_sink *sink, bool insists) {
    struct producer all[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        all[i] = (struct producer){.number = i, .sink = sink, .insists = insists};
        assert_int_equal(pthread_create(&all[i].thread, NULL, produce, &all[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) pthread_join(all[i].thread, NULL);
}

/* Every line is whole and each thread's are complete and in order; log_lost records add up to *told. */
static void check_lines(char *text, uint64_t *told) {
    unsigned next[THREADS] = {0};
    char want[LONGEST + 1];
    *told = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        uint64_t lost;
        if (line[0] == '{') {
            assert_int_equal(sscanf(strstr(line, "log_lost\","), "log_lost\",\"lost\":%" SCNu64 "}", &lost), 1);
            *told += lost;
            continue;
        }
        assert_in_range(line[0], '0', '0' + THREADS - 1);
        unsigned thread = (unsigned)(line[0] - '0');
        want[render(want, thread, next[thread]++) - 1] = '\0';
        assert_string_equal(line, want);
    }
    for (unsigned i = 0; i < THREADS; i++) assert_int_equal(next[i], RECORDS);
}

static void check_threads(unsigned queue, bool insists) {
    char *path = path_of("threads");
    uint64_t before = log_lost(), told;
    log_init(queue);
    produce_all(open_sink(LOG_TO_FILE, path), insists);
    log_fini(PATIENCE_MS);
    char *text = read_file(path);
    check_lines(text, &told);
    assert_int_equal(told, log_lost() - before);
    if (!insists) assert_int_equal(told, 0);
    free(text);
    unlink(path);
    free(path);
}

static void test_nothing_lost(void **state) {
    (void)state;
    check_threads(RECORDS, false);
}

/* Rings that are a tenth of what goes through them: they wrap, they are full, and what a full one refuses is told. */
static void test_small_rings(void **state) {
    (void)state;
    check_threads(1, true);
}

/* Records up to half a ring always find a place in an empty one, wherever it stands; larger ones may be refused. */
static void test_large_records(void **state) {
    (void)state;
    char *path = path_of("large");
    off_t size = 0;
    log_init(1);
    struct log_sink *sink = open_sink(LOG_TO_FILE, path);
    for (size_t i = 0; i < 40; i++) {
        size_t n = 32000 - i * 700;
        char *at = log_reserve(sink, n);
        assert_non_null(at);
        memset(at, 'x', n);
        at[n - 1] = '\n';
        log_commit(n);
        log_flush();
        wait_for_size(path, size += (off_t)n);
    }
    uint64_t before = log_lost();
    assert_null(log_reserve(sink, (size_t)1 << 20));
    assert_int_equal(log_lost() - before, 1);
    assert_non_null(log_reserve(sink, 100));
    log_commit(0); /* nothing to say after all */
    put_line(sink, "end\n");
    log_fini(PATIENCE_MS);
    char *text = read_file(path);
    assert_non_null(strstr(text + size, "\"lost\":1}\n"));
    assert_non_null(strstr(text + size, "\nend\n"));
    free(text);
    free(path);
}

/* A ring that the writer keeps up with stays in the same few pages, however much goes through it. */
static void test_an_empty_ring_begins_again(void **state) {
    (void)state;
    enum { SPREAD = 200 * 1024, BYTES = 1000, QUEUE = 8192 };
    char *path = path_of("again"), *first = NULL;
    off_t size = 0;
    log_init(QUEUE);
    struct log_sink *sink = open_sink(LOG_TO_FILE, path);
    for (unsigned i = 0; i < 3 * SPREAD / BYTES; i++) {
        char *at = log_reserve(sink, BYTES);
        assert_non_null(at);
        if (!first) first = at;
        assert_in_range(at - first, 0, SPREAD - BYTES);
        memset(at, 'a' + (int)(i % 26), BYTES);
        at[BYTES - 1] = '\n';
        log_commit(BYTES);
        log_flush();
        size += BYTES;
        if (i % 16 == 15) wait_for_size(path, size);
    }
    log_fini(PATIENCE_MS);
    char *text = read_file(path);
    for (unsigned i = 0; i < 3 * SPREAD / BYTES; i++)
        assert_true(text[i * BYTES] == (char)('a' + i % 26) && text[(i + 1) * BYTES - 1] == '\n');
    free(text);
    unlink(path);
    free(path);
}

static void *log_once(void *arg) {
    put_line(arg, "a thread's only record\n");
    log_thread_end();
    return NULL;
}

static void test_threads_come_and_go(void **state) {
    (void)state;
    char *path = path_of("many");
    log_init(8192);
    struct log_sink *sink = open_sink(LOG_TO_FILE, path);
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, log_once, sink), 0);
        pthread_join(thread, NULL);
    }
    log_fini(PATIENCE_MS);
    char *text = read_file(path);
    assert_int_equal(strlen(text), 50 * strlen("a thread's only record\n"));
    free(text);
    free(path);
}

/* A record reaches the file without another one behind it: the wake-up is not lost, whatever the writer does. */
static void test_each_record_arrives(void **state) {
    (void)state;
    char *path = path_of("arrives");
    log_init(64);
    struct log_sink *sink = open_sink(LOG_TO_FILE, path);
    for (off_t i = 1; i <= 30; i++) {
        put_line(sink, "x\n");
        if (i % 2) wait_for_size(path, 2 * i); /* asleep or lingering, as it comes */
    }
    log_fini(PATIENCE_MS);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_lost),        cmocka_unit_test(test_small_rings),
        cmocka_unit_test(test_large_records),       cmocka_unit_test(test_threads_come_and_go),
        cmocka_unit_test(test_each_record_arrives), cmocka_unit_test(test_an_empty_ring_begins_again),
    };
    return cmocka_run_group_tests_name("log_ring", tests, folder_make, folder_remove);
}
