/* test_log_sink.c: sinks that block, fill up, go away or are moved: no thread waits, no record is torn, losses told. */
#include "log_tools.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { RECORD = 300 };

/* "<sequence> xxx...\n", RECORD bytes. False when the ring was full. */
static bool put_record(struct log_sink *s, unsigned sequence) {
    char *at = log_reserve(s, RECORD);
    if (!at) return false;
    memset(at, 'x', RECORD - 1);
    at[sprintf(at, "%07u", sequence)] = ' ';
    at[RECORD - 1] = '\n';
    log_commit(RECORD);
    log_flush();
    return true;
}

/* How many whole records the text has, in order; *told sums up what log_lost records say, *tells counts those. */
static uint64_t count_records(char *text, uint64_t *told, unsigned *tells) {
    uint64_t records = 0, lost;
    long last = -1;
    *told = *tells = 0;
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        if (line[0] == '{') {
            assert_int_equal(sscanf(strstr(line, "log_lost\","), "log_lost\",\"lost\":%" SCNu64 "}", &lost), 1);
            *told += lost;
            ++*tells;
        } else {
            assert_int_equal(end - line, RECORD - 1);
            assert_int_equal(strspn(line + 8, "x"), RECORD - 9);
            assert_true(strtol(line, NULL, 10) > last);
            last = strtol(line, NULL, 10);
            records++;
        }
    }
    return records;
}

/* A pipe that nobody reads: all is taken at once, the file beside it goes on, and afterwards the reader sees whole
 * records and the exact number of the missing ones. */
static void *read_slowly(void *fd) {
    return read_all(*(int *)fd);
}

static void test_blocked_pipe(void **state) {
    (void)state;
    enum { RECORDS = 10000 };
    char *pipe_path = path_of("pipe"), *file_path = path_of("beside");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    int fd = open(pipe_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    uint64_t before = log_lost(), told;
    unsigned tells;
    log_init(8192);
    struct log_sink *blocked = open_sink(LOG_TO_FILE, pipe_path), *beside = open_sink(LOG_TO_FILE, file_path);
    for (unsigned i = 0; i < RECORDS; i++) assert_true(put_record(blocked, i));
    assert_true(put_record(beside, 1));
    wait_for_size(file_path, RECORD);
    assert_true(log_lost() - before > RECORDS / 10);

    fcntl(fd, F_SETFL, 0);
    pthread_t reader;
    assert_int_equal(pthread_create(&reader, NULL, read_slowly, &fd), 0);
    log_fini(PATIENCE_MS);
    void *text;
    pthread_join(reader, &text);
    uint64_t records = count_records(text, &told, &tells);
    assert_true(records >= 1024 * 1024 / RECORD);
    assert_int_equal(records + told, RECORDS);
    assert_in_range(tells, 1, 12);
    free(text);
    close(fd);
    free(pipe_path);
    free(file_path);
}

/* A reader that never comes costs log_fini its patience and no more. */
static void test_fini_gives_up(void **state) {
    (void)state;
    char *path = path_of("stuck");
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    uint64_t before = log_lost();
    log_init(8192);
    struct log_sink *sink = open_sink(LOG_TO_FILE, path);
    for (unsigned i = 0; i < 1000; i++) assert_true(put_record(sink, i));
    log_fini(20);
    char *text = read_all(fd);
    size_t got = strlen(text);
    assert_int_equal(got % RECORD, 0);
    assert_int_equal(got / RECORD + log_lost() - before, 1000);
    free(text);
    close(fd);
    free(path);
}

/* A reader that goes away is EPIPE: records are lost and counted; the next reader gets whole ones. */
static void test_reader_changes(void **state) {
    (void)state;
    char *path = path_of("readers");
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    uint64_t before = log_lost(), told;
    unsigned tells;
    time_t deadline = 0;
    log_init(64);
    struct log_sink *sink = open_sink(LOG_TO_FILE, path);
    close(fd);
    put_record(sink, 1);
    while (log_lost() == before) assert_true(in_time(&deadline));
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    put_record(sink, 2);
    log_fini(PATIENCE_MS);
    char *text = read_all(fd);
    assert_int_equal(count_records(text, &told, &tells), 1);
    assert_int_equal(told, 1);
    free(text);
    close(fd);
    free(path);
}

static void test_dev_full(void **state) {
    (void)state;
    uint64_t before = log_lost();
    log_init(64);
    struct log_sink *sink = open_sink(LOG_TO_FILE, "/dev/full");
    for (unsigned i = 0; i < 10; i++) assert_true(put_record(sink, i));
    log_fini(PATIENCE_MS);
    assert_int_equal(log_lost() - before, 10);
}

/* A disk that fills up in the middle of a record (here: a limit on the file's size) and has room again later: the torn
 * record is finished before anything else follows. */
static void test_disk_full_and_back(void **state) {
    (void)state;
    char *path = path_of("disk");
    struct rlimit keep, small;
    uint64_t before = log_lost(), told;
    unsigned tells, sequence = 0;
    time_t deadline = 0;
    log_init(8192);
    struct log_sink *sink = open_sink(LOG_TO_FILE, path);
    getrlimit(RLIMIT_FSIZE, &keep);
    small = (struct rlimit){5 * RECORD + 100, keep.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    while (log_lost() == before) {
        put_record(sink, sequence++);
        assert_true(in_time(&deadline));
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &keep), 0);
    for (int i = 0; i < 3; i++) assert_true(put_record(sink, sequence++));
    log_fini(PATIENCE_MS);
    char *text = read_file(path);
    uint64_t records = count_records(text, &told, &tells);
    assert_true(records >= 9); /* five, the torn one, three */
    assert_int_equal(records + told, sequence);
    assert_int_equal(told, log_lost() - before);
    free(text);
    free(path);
}

static void test_reopen(void **state) {
    (void)state;
    char *path = path_of("rotated"), *old = path_of("rotated.1");
    log_init(64);
    struct log_sink *sink = open_sink(LOG_TO_FILE, path);
    put_line(sink, "before\n");
    wait_for_size(path, 7);
    assert_int_equal(rename(path, old), 0);
    put_line(sink, "between\n");
    wait_for_size(old, 15);
    log_reopen();
    wait_for_size(path, 0);
    put_line(sink, "after\n");
    log_fini(PATIENCE_MS);
    char *text = read_file(old);
    assert_string_equal(text, "before\nbetween\n");
    free(text);
    text = read_file(path);
    assert_string_equal(text, "after\n");
    free(text);
    free(path);
    free(old);
}

/* A file that cannot be opened again keeps its descriptor, and the process log says so. */
static void test_reopen_fails(void **state) {
    (void)state;
    char *inner = path_of("inner"), *path = path_of("inner/log"), *moved = path_of("moved"), *in = path_of("moved/log");
    assert_int_equal(mkdir(inner, 0700), 0);
    log_init(64);
    struct log_sink *sink = open_sink(LOG_TO_FILE, path);
    log_configure(sink, FORMAT_JSON, LEVEL_INFO);
    assert_int_equal(rename(inner, moved), 0);
    log_reopen();
    wait_for_size(in, 1);
    put_line(sink, "still here\n");
    log_fini(PATIENCE_MS);
    char *text = read_file(in);
    assert_non_null(strstr(text, "\"event\":\"log_reopen_failed\""));
    assert_non_null(strstr(text, path));
    assert_non_null(strstr(text, "\nstill here\n"));
    free(text);
    free(inner), free(path), free(moved), free(in);
}

/* Standard output as a pipe or a socket of somebody else's: written without changing how they are open. */
static void check_stdout(int read_end, int write_end) {
    int keep = dup(STDOUT_FILENO), flags = fcntl(write_end, F_GETFL);
    fflush(stdout);
    dup2(write_end, STDOUT_FILENO);
    log_init(64);
    put_line(open_sink(LOG_TO_STDOUT, NULL), "to stdout\n");
    char text[32] = "";
    ssize_t n = read(read_end, text, sizeof text - 1);
    log_fini(PATIENCE_MS);
    dup2(keep, STDOUT_FILENO);
    close(keep);
    assert_int_equal(n, 10);
    assert_string_equal(text, "to stdout\n");
    assert_int_equal(fcntl(write_end, F_GETFL), flags);
    close(read_end);
    close(write_end);
}

static void test_stdout(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    check_stdout(ends[0], ends[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    check_stdout(ends[0], ends[1]);
}

static int syslog_daemon(const char *path) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct timeval patience = {PATIENCE_MS / 1000, 0};
    strcpy(at.sun_path, path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

/* One datagram: "<priority>Mmm dd hh:mm:ss loomgate[pid]: " and the record. */
static void expect_syslog(int fd, int priority, const char *end) {
    char got[512] = "", month[4], tag[64], want[64];
    int number, day, hour, minute, second;
    ssize_t n = recv(fd, got, sizeof got - 1, 0);
    assert_true(n > 0 && got[n - 1] != '\n');
    assert_int_equal(sscanf(got, "<%d>%3s %2d %2d:%2d:%2d %63s", &number, month, &day, &hour, &minute, &second, tag),
                     7);
    snprintf(want, sizeof want, "loomgate[%d]:", (int)getpid());
    assert_string_equal(tag, want);
    assert_int_equal(number, priority);
    assert_true((size_t)n > strlen(end));
    assert_string_equal(got + (size_t)n - strlen(end), end);
}

static void test_syslog(void **state) {
    (void)state;
    char *path = path_of("devlog");
    int fd = syslog_daemon(path);
    log_init(64);
    log_configure(open_sink(LOG_TO_SYSLOG, path), FORMAT_TEXT, LEVEL_DEBUG);
    log_error("one", NULL);
    log_warn("two", NULL);
    log_info("three", NULL);
    log_debug("four", NULL);
    expect_syslog(fd, 24 + 3, " error one");
    expect_syslog(fd, 24 + 4, " warn two");
    expect_syslog(fd, 24 + 6, " info three");
    expect_syslog(fd, 24 + 7, " debug four");
    close(fd); /* the daemon restarts */
    fd = syslog_daemon(path);
    log_info("five", NULL);
    expect_syslog(fd, 24 + 6, " info five");
    close(fd); /* and goes away */
    unlink(path);
    uint64_t before = log_lost();
    log_info("six", NULL);
    log_fini(PATIENCE_MS);
    assert_int_equal(log_lost() - before, 1);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocked_pipe),
        cmocka_unit_test(test_fini_gives_up),
        cmocka_unit_test(test_reader_changes),
        cmocka_unit_test(test_dev_full),
        cmocka_unit_test(test_disk_full_and_back),
        cmocka_unit_test(test_reopen),
        cmocka_unit_test(test_reopen_fails),
        cmocka_unit_test(test_stdout),
        cmocka_unit_test(test_syslog),
    };
    return cmocka_run_group_tests_name("log_sink", tests, folder_make, folder_remove);
}
