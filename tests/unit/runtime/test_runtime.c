/* test_runtime.c: a whole life in a process of its own: start, serve, signals, end; and starts that fail.
 * It runs under ThreadSanitizer. */
#include "process_bed.h"

#include "../../support/conn_pair.h"

#include <sys/stat.h>

#define GET_OWN "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

static char pid_path[64];
static const struct runtime_hooks *hooks;

static int set_up(void **state) {
    (void)state;
    process_begin();
    snprintf(pid_path, sizeof pid_path, "%s/pid", dir);
    hooks = NULL;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(pid_path);
    process_end();
    return 0;
}

static void spawn(struct config *c) {
    process_spawn(c, NULL, pid_path, hooks);
}

static int exit_status(void) {
    int status;
    read_log_until("never");
    assert_int_equal(waitpid(child, &status, 0), child);
    child = -1;
    if (!WIFEXITED(status)) fail_msg("ended by signal %d:\n%s", WTERMSIG(status), text);
    return WEXITSTATUS(status);
}

static bool is_there(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static int connect_client(void) {
    struct addr at = addr_make_unix(socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(connect(fd, &at.u.sa, at.len), errno);
    return fd;
}

static void assert_served(int fd) {
    char got[512] = "";
    size_t n = 0;
    assert_int_equal(send(fd, GET_OWN, strlen(GET_OWN), MSG_NOSIGNAL), strlen(GET_OWN));
    while (!strstr(got, "\r\n\r\nmine")) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        ssize_t some = read(fd, got + n, sizeof got - 1 - n);
        if (some <= 0) fail_msg("no answer but \"%s\"", got);
        got[n += (size_t)some] = '\0';
    }
}

static void a_life_from_start_to_sigterm(void **state) {
    (void)state;
    spawn(make_config());
    await_event("ready");
    assert_true(is_there(socket_path));
    FILE *f = fopen(pid_path, "re");
    int pid = 0;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    fclose(f);
    assert_int_equal(pid, child);
    int fd = connect_client();
    assert_served(fd);
    kill(child, SIGTERM);
    assert_int_equal(exit_status(), 0);
    assert_non_null(strstr(text, "\"event\":\"stopped\""));
    assert_false(is_there(socket_path));
    assert_false(is_there(pid_path));
    close(fd);
}

/* What cannot be done is told, and changes nothing. */
static void other_signals_do_not_end_it(void **state) {
    (void)state;
    spawn(make_config());
    await_event("ready");
    kill(child, SIGHUP);
    await_event("reload_failed"); /* it did not come from a file */
    kill(child, SIGUSR2);
    await_event("upgrade_failed"); /* the way to start it again was not told */
    kill(child, SIGUSR1);
    await_event("logs_reopened");
    int fd = connect_client();
    assert_served(fd);
    kill(child, SIGINT);
    assert_int_equal(exit_status(), 0);
    close(fd);
}

/* A head that is under way holds the drain up; the second signal does not wait for it. */
static void the_second_sigterm_is_at_once(void **state) {
    (void)state;
    spawn(make_config());
    await_event("ready");
    int fd = connect_client();
    assert_served(fd);
    assert_int_equal(send(fd, "GET / HT", 8, MSG_NOSIGNAL), 8);
    kill(child, SIGTERM);
    await_event("stopping");
    kill(child, SIGTERM);
    assert_int_equal(exit_status(), 0);
    assert_false(is_there(socket_path));
    close(fd);
}

static void the_grace_is_not_for_ever(void **state) {
    (void)state;
    struct config *c = make_config();
    c->global.shutdown_grace_us = 20000;
    spawn(c);
    await_event("ready");
    int fd = connect_client();
    assert_served(fd);
    assert_int_equal(send(fd, "GET / HT", 8, MSG_NOSIGNAL), 8);
    kill(child, SIGTERM);
    assert_int_equal(exit_status(), 0);
    assert_non_null(strstr(text, "\"event\":\"grace_over\""));
    close(fd);
}

/* --- hooks and broadcasts: in the child, told by its log --------------------------------------------------------- */

/* What a broadcast leaves: a place for each worker. */
struct visits {
    struct runtime *runtime;
    pthread_t home, threads[2];
    unsigned counts[2];
    bool is_over;
};
static struct visits visits;

static void visit(struct env *env, unsigned worker, void *arg) {
    struct visits *v = arg;
    v->threads[worker] = pthread_self();
    v->counts[worker] += env->loop.now_us > 0;
}

static void on_visited(void *arg) {
    struct visits *v = arg;
    bool is_apart = !pthread_equal(v->threads[0], v->home) && !pthread_equal(v->threads[0], v->threads[1]);
    v->is_over = true;
    log_info("visited", NULL, LOG_INT("workers", v->counts[0] + v->counts[1]), LOG_INT("apart", is_apart),
             LOG_INT("home", pthread_equal(v->home, pthread_self()) != 0));
}

static bool ask_all(void *owner, struct runtime *r, struct error *e) {
    struct visits *v = owner;
    (void)e;
    v->runtime = r;
    v->home = pthread_self();
    runtime_broadcast(r, visit, on_visited, v);
    return !v->is_over; /* never before it returns */
}

static void tell_stop(void *owner, struct runtime *r) {
    struct visits *v = owner;
    log_info("hook_stop", NULL, LOG_INT("state", runtime_state(r)), LOG_INT("over", v->is_over));
    if (!v->is_over) return;
    v->is_over = false;
    runtime_broadcast(r, visit, on_visited, v); /* comes back even now */
}

static bool refuse(void *owner, struct runtime *r, struct error *e) {
    (void)owner, (void)r;
    return error_set(e, "not today");
}

static void broadcasts_reach_each_worker_and_come_back(void **state) {
    static const struct runtime_hooks h = {.owner = &visits, .on_bind = ask_all, .on_stop = tell_stop};
    (void)state;
    hooks = &h;
    spawn(make_config());
    await_event("visited");
    assert_non_null(strstr(text, "\"event\":\"visited\",\"workers\":2,\"apart\":1,\"home\":1"));
    kill(child, SIGTERM);
    assert_int_equal(exit_status(), 0);
    assert_non_null(strstr(text, "\"event\":\"hook_stop\",\"state\":3,\"over\":1"));
    const char *last = strstr(text, "hook_stop");
    assert_non_null(strstr(last, "\"event\":\"visited\",\"workers\":4"));
}

static void a_hook_may_refuse_the_start(void **state) {
    static const struct runtime_hooks h = {.owner = &visits, .on_bind = refuse, .on_stop = tell_stop};
    (void)state;
    hooks = &h;
    spawn(make_config());
    assert_int_equal(exit_status(), 1);
    assert_non_null(strstr(text, "not today"));
    assert_non_null(strstr(text, "hook_stop"));
    assert_false(is_there(socket_path));
}

static void on_stop_nothing(void *owner, struct runtime *r) {
    (void)owner, (void)r;
}

static bool shut_down(void *owner, struct runtime *r, struct error *e) {
    (void)e;
    runtime_shutdown(r, owner != NULL);
    return true;
}

static void whoever_commands_it_may_stop_it(void **state) {
    static const struct runtime_hooks graceful = {.on_bind = shut_down, .on_stop = on_stop_nothing};
    (void)state;
    hooks = &graceful;
    spawn(make_config());
    assert_int_equal(exit_status(), 0);
    assert_non_null(strstr(text, "\"level\":\"info\",\"event\":\"stopping\""));
}

/* The frontend's series, as the control thread sees it; looked at until its exchange has come there with a tick. */
static struct series_watch {
    struct deadline look;
    struct runtime *runtime;
} series_watch;

static void look_at_series(struct deadline *d) {
    struct runtime *r = series_watch.runtime;
    const struct telemetry *t = &runtime_registry(r)->telemetry;
    struct stats_view v;
    bool counted = window_read(t, telemetry_find(t, SERIES_FRONTEND, "", "web"), 1, &v) && v.exchanges;
    if (counted)
        log_info("counted", NULL, LOG_INT("exchanges", v.exchanges), LOG_INT("window_s", v.length_us / 1000000));
    else
        deadline_set(runtime_loop(r), d, 10000);
}

static bool watch_series(void *owner, struct runtime *r, struct error *e) {
    (void)owner, (void)e;
    series_watch.runtime = r;
    deadline_init(&series_watch.look, look_at_series);
    deadline_set(runtime_loop(r), &series_watch.look, 10000);
    return true;
}

static void forget_series(void *owner, struct runtime *r) {
    (void)owner, (void)r;
    deadline_cancel(&series_watch.look);
}

static void what_workers_count_is_taken_each_second(void **state) {
    static const struct runtime_hooks h = {.owner = NULL, .on_bind = watch_series, .on_stop = forget_series};
    static const uint64_t windows[] = {1000000, 7000000};
    (void)state;
    struct config *c = make_config();
    c->global.windows_us = windows;
    c->global.window_count = 2;
    hooks = &h;
    spawn(c);
    await_event("ready");
    int fd = connect_client();
    assert_served(fd);
    await_event("counted");
    assert_non_null(strstr(text, "\"exchanges\":1,\"window_s\":7"));
    close(fd);
    kill(child, SIGTERM);
    assert_int_equal(exit_status(), 0);
}

/* --- starts that fail ------------------------------------------------------------------------------------------- */

/* A second start by mistake takes nothing away from the first one. */
static void an_address_in_use(void **state) {
    (void)state;
    struct addr at = addr_make_unix(socket_path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(listener, &at.u.sa, at.len), errno);
    assert_return_code(listen(listener, 8), errno);
    FILE *f = fopen(pid_path, "we");
    assert_non_null(f);
    fclose(f);
    spawn(make_config());
    assert_int_equal(exit_status(), 1);
    assert_non_null(strstr(text, "\"event\":\"start_failed\""));
    assert_true(is_there(socket_path));
    assert_true(is_there(pid_path));
    close(listener);
}

/* Whoever started it (systemd's Type=notify) hears when it serves and when it stops. */
static void the_service_manager_is_told(void **state) {
    char path[64], heard[100];
    (void)state;
    snprintf(path, sizeof path, "%s/notify", dir);
    struct addr at = addr_make_unix(path);
    int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(manager, &at.u.sa, at.len), errno);
    setenv("NOTIFY_SOCKET", path, 1);
    spawn(make_config());
    unsetenv("NOTIFY_SOCKET");
    static const char *const wanted[] = {"READY=1\nSTATUS=serving", "STOPPING=1\nSTATUS=what runs may finish"};
    for (size_t i = 0; i < LG_COUNT(wanted); i++) {
        struct pollfd p = {.fd = manager, .events = POLLIN};
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        ssize_t n = recv(manager, heard, sizeof heard - 1, 0);
        heard[n > 0 ? n : 0] = '\0';
        assert_string_equal(heard, wanted[i]);
        if (i == 0) kill(child, SIGTERM);
    }
    assert_int_equal(exit_status(), 0);
    close(manager);
    unlink(path);
}

static void an_unknown_user(void **state) {
    (void)state;
    struct config *c = make_config();
    c->global.user = "no-such-user-here";
    spawn(c);
    assert_int_equal(exit_status(), 1);
    assert_non_null(strstr(text, "no-such-user-here"));
    assert_false(is_there(socket_path)); /* its own are taken back */
    assert_false(is_there(pid_path));
}

static void a_pid_file_that_cannot_be_written(void **state) {
    (void)state;
    snprintf(pid_path, sizeof pid_path, "%s/none/pid", dir);
    spawn(make_config());
    assert_int_equal(exit_status(), 1);
    assert_non_null(strstr(text, "/none/pid"));
    assert_false(is_there(socket_path));
}

static void a_log_that_cannot_be_opened(void **state) {
    (void)state;
    struct config *c = make_config();
    c->global.log.target = LOG_TO_FILE;
    c->global.log.path = "/nonexistent/dir/log";
    spawn(c);
    assert_int_equal(exit_status(), 1);
    assert_non_null(strstr(text, "/nonexistent/dir/log"));
    assert_false(is_there(socket_path));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_life_from_start_to_sigterm),
        TEST(other_signals_do_not_end_it),
        TEST(the_second_sigterm_is_at_once),
        TEST(the_grace_is_not_for_ever),
        TEST(the_service_manager_is_told),
        TEST(an_address_in_use),
        TEST(an_unknown_user),
        TEST(broadcasts_reach_each_worker_and_come_back),
        TEST(a_hook_may_refuse_the_start),
        TEST(whoever_commands_it_may_stop_it),
        TEST(what_workers_count_is_taken_each_second),
        TEST(a_pid_file_that_cannot_be_written),
        TEST(a_log_that_cannot_be_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
