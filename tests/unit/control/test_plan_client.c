/* test_plan_client.c: whom `loomgate -c --plan` asks, how, and what it makes of the answer. */
#include "loomgate/control/plan_client.h"

#include "loomgate/base/macros.h"
#include "loomgate/control/line.h"

#include "../config/config_text.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void the_first_that_grants_admin(void **state) {
    static const struct {
        const char *controls, *socket;
    } rows[] = {
        {"[]", NULL},
        {"[{socket: /a, level: user}, {socket: /b, level: operator}]", NULL},
        {"[{socket: /a, level: admin}]", "/a"},
        {"[{socket: /a, level: user}, {socket: /b, level: admin}, {socket: /c, level: admin}]", "/b"},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        char text[256], *messages;
        snprintf(text, sizeof text, "version: 1\nglobal: {control: %s}\n", rows[i].controls);
        struct config *c = load_with(text, strlen(text), NULL, 0, &messages);
        assert_non_null(c);
        const char *found = plan_socket(c);
        if (rows[i].socket)
            assert_string_equal(found, rows[i].socket);
        else
            assert_null(found);
        config_free(c);
        free(messages);
    }
}

/* What the process reads out of the line; NULL: there is none. */
static char *path_told(const char *folder, const char *path) {
    struct arena a;
    struct words words;
    const char *problem;
    char *command = plan_command(folder, path);
    if (!command) return NULL;
    struct slice rest = slice_from(command, strlen(command) - 1);
    assert_int_equal(command[rest.n], '\n');
    arena_init(&a, NULL, 0);
    assert_int_equal(line_take(&rest, &a, &words, NULL, &problem), LINE_COMMAND);
    assert_int_equal(words.count, 3);
    assert_true(slice_is(words.v[0].text, "config") && slice_is(words.v[1].text, "plan"));
    assert_false(words.v[2].is_plain);
    char *told_path = strdup(words.v[2].text.p);
    assert_int_equal(line_take(&rest, &a, &words, NULL, &problem), LINE_END);
    arena_fini(&a);
    free(command);
    return told_path;
}

static void any_path_arrives(void **state) {
    static const struct {
        const char *folder, *path, *told;
    } rows[] = {
        {"/etc", "/x/y.yaml", "/x/y.yaml"},
        {"/etc", "y.yaml", "/etc/y.yaml"},
        {"/a b", "../c;d.yaml", "/a b/../c;d.yaml"},
        {"/q\"uote", "back\\slash \"x\" json", "/q\"uote/back\\slash \"x\" json"},
        {"/a\nshutdown", "b", NULL},
        {"/", "a\nshutdown", NULL},
        {"/", "a\rb", NULL},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        char *path = path_told(rows[i].folder, rows[i].path);
        if (rows[i].told)
            assert_string_equal(path, rows[i].told);
        else
            assert_null(path);
        free(path);
    }
    char *long_path = malloc(CONTROL_LINE_MAX + 1);
    memset(long_path, 'x', CONTROL_LINE_MAX);
    long_path[CONTROL_LINE_MAX] = '\0';
    assert_null(plan_command("/", long_path));
    free(long_path);
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

struct process {
    struct sockaddr_un at;
    int listener;
    const char *answer;
    char asked[256];
};

static void process_start(struct process *p) {
    *p = (struct process){.at.sun_family = AF_UNIX};
    snprintf(p->at.sun_path, sizeof p->at.sun_path, "/tmp/loomgate-plan-%d.sock", (int)getpid());
    unlink(p->at.sun_path);
    p->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&p->at, sizeof p->at), 0);
    assert_int_equal(listen(p->listener, 4), 0);
}

static void process_end(struct process *p) {
    close(p->listener);
    unlink(p->at.sun_path);
}

/* Accepts one client, reads it to its end, answers. */
static void *serve_one(void *arg) {
    struct process *p = arg;
    size_t n = 0;
    ssize_t got;
    int fd = accept(p->listener, NULL, NULL);
    while ((got = read(fd, p->asked + n, sizeof p->asked - 1 - n)) > 0) n += (size_t)got;
    send(fd, p->answer, strlen(p->answer), MSG_NOSIGNAL);
    close(fd);
    return NULL;
}

static void answers(void **state) {
    static const struct {
        const char *sent, *answer, *sentence;
    } rows[] = {
        {"ok: nothing changes; nothing was done\n\n", "ok: nothing changes; nothing was done\n", NULL},
        {"~ a: 1 -> 2\nsockets_kept  1\nok: 1 changed\n\n", "~ a: 1 -> 2\nsockets_kept  1\nok: 1 changed\n", NULL},
        {"error: denied: it needs level admin\n\n", NULL, "says: denied: it needs level admin"},
        {"error: config: a.yaml:1:1: bad\nproblems\n\n", NULL, "says: config: a.yaml:1:1: bad"},
        {"", NULL, "closed the connection before the answer was complete"},
        {"ok: half an ans", NULL, "closed the connection before the answer was complete"},
    };
    struct process p;
    (void)state;
    process_start(&p);
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        pthread_t thread;
        struct error e = {""};
        memset(p.asked, 0, sizeof p.asked);
        p.answer = rows[i].sent;
        assert_int_equal(pthread_create(&thread, NULL, serve_one, &p), 0);
        char *answer = plan_ask(p.at.sun_path, "/x.yaml", 60000000, &e);
        pthread_join(thread, NULL);
        assert_string_equal(p.asked, "config plan \"/x.yaml\"\n");
        if (rows[i].answer) {
            assert_string_equal(answer, rows[i].answer);
        } else {
            assert_null(answer);
            assert_non_null(strstr(e.text, rows[i].sentence));
            assert_non_null(strstr(e.text, p.at.sun_path));
            assert_null(strchr(e.text, '\n'));
        }
        free(answer);
    }
    process_end(&p);
}

/* Nobody accepts, and nobody listens any more. */
static void no_answer(void **state) {
    struct process p;
    struct error e;
    char long_path[200];
    (void)state;
    process_start(&p);
    assert_null(plan_ask(p.at.sun_path, "/x.yaml", 20000, &e));
    assert_non_null(strstr(e.text, "did not answer within 0.02 s"));
    assert_non_null(strstr(e.text, p.at.sun_path));
    process_end(&p);
    assert_null(plan_ask(p.at.sun_path, "/x.yaml", 20000, &e));
    assert_non_null(strstr(e.text, "nobody answers at the control socket /tmp/loomgate-plan-"));
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    assert_null(plan_ask(long_path, "/x.yaml", 20000, &e));
    assert_non_null(strstr(e.text, "File name too long"));
    assert_null(plan_ask("/x", "/a\nb", 20000, &e));
    assert_non_null(strstr(e.text, "cannot be told a path"));
}

/* More than the listener's queue takes: connecting waits, and not for ever. */
static void a_full_queue(void **state) {
    struct process p;
    struct error e;
    int fds[64];
    size_t n = 0;
    (void)state;
    process_start(&p);
    while (n < LG_COUNT(fds)) {
        fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(fds[n++], (struct sockaddr *)&p.at, sizeof p.at) != 0) break;
    }
    assert_null(plan_ask(p.at.sun_path, "/x.yaml", 20000, &e));
    assert_non_null(strstr(e.text, "did not answer within 0.02 s"));
    while (n) close(fds[--n]);
    process_end(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_that_grants_admin),
        cmocka_unit_test(any_path_arrives),
        cmocka_unit_test(answers),
        cmocka_unit_test(no_answer),
        cmocka_unit_test(a_full_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
