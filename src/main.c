/* main.c: arguments, then configuration, then control and runtime. */
#include "loomgate/config/config.h"
#include "loomgate/config/diagnose.h"
#include "loomgate/control/plan_client.h"
#include "loomgate/control/server.h"
#include "loomgate/runtime/heir.h"
#include "loomgate/runtime/runtime.h"

#include <cjson/cJSON.h>
#include <ev.h>
#include <getopt.h>
#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

enum { EXIT_USAGE = 2, OPTION_PID = 256, OPTION_PLAN, OPTION_PRINT_SETTINGS, OPTION_PRINT_COMMANDS };

static const char usage[] =
    "usage: loomgate [-f FILE] [-c [--plan]] [-D KEY=VALUE]... [--pid FILE] | -V | -h\n"
    "\n"
    "  -f FILE        the configuration (default: conf/loomgate.yaml, then /etc/loomgate/loomgate.yaml)\n"
    "  -c             check the configuration and exit: 0 valid, 1 errors; binds nothing\n"
    "  --plan         with -c: then ask the running process what the file would change, by the first control socket\n"
    "                 of the file that grants level admin; 1 also when that fails\n"
    "  -D KEY=VALUE   override one setting, such as -D global.workers=1; may be repeated\n"
    "  --pid FILE     write the process id to FILE\n"
    "  -V             version, build options and the versions of the libraries\n"
    "  -h             this text\n"
    "\n"
    "Signals: SIGTERM or SIGINT stop gracefully (a second one: at once), SIGHUP reads the configuration again,\n"
    "SIGUSR1 reopens the log files, SIGUSR2 starts the program's file anew and hands everything over to it.\n";

struct arguments {
    const char *file, *pid_path;
    bool check_only, plans;
    struct config_override *overrides;
    size_t override_count;
    char **words; /* all of them as they were given */
};

enum { LIBRARY_COUNT = 5 };

static void name_libraries(struct control_library out[LIBRARY_COUNT]) {
    int major, minor, patch;
    yaml_get_version(&major, &minor, &patch);
    out[0].name = "libev";
    snprintf(out[0].version, sizeof out[0].version, "%d.%d", ev_version_major(), ev_version_minor());
    out[1].name = "libyaml";
    snprintf(out[1].version, sizeof out[1].version, "%d.%d.%d", major, minor, patch);
    out[2].name = "llhttp";
    snprintf(out[2].version, sizeof out[2].version, "%d.%d.%d", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR,
             LLHTTP_VERSION_PATCH);
    out[3].name = "cjson";
    snprintf(out[3].version, sizeof out[3].version, "%s", cJSON_Version());
    char text[64] = ""; /* "10.42 2022-12-11" */
    if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) < (int)sizeof text) pcre2_config(PCRE2_CONFIG_VERSION, text);
    out[4].name = "pcre2";
    snprintf(out[4].version, sizeof out[4].version, "%.*s", (int)strcspn(text, " "), text);
}

static void print_version(void) {
    struct control_library libraries[LIBRARY_COUNT];
    name_libraries(libraries);
    printf("loomgate %s (%s build, " COMPILER ")\n", LG_VERSION, LG_FLAVOUR);
    for (int i = 0; i < LIBRARY_COUNT; i++) printf("%s%s %s", i ? ", " : "", libraries[i].name, libraries[i].version);
    putchar('\n');
}

static int wrong_usage(const char *what, const char *value) {
    fprintf(stderr, "loomgate: %s%s%s\n\n%s", what, value ? " " : "", value ? value : "", usage);
    return EXIT_USAGE;
}

/* Splits KEY=VALUE in place. */
static bool add_override(struct arguments *a, char *text) {
    char *equals = strchr(text, '=');
    if (!equals || equals == text) return false;
    *equals = '\0';
    a->overrides = xrealloc(a->overrides, (a->override_count + 1) * sizeof *a->overrides);
    a->overrides[a->override_count++] = (struct config_override){text, equals + 1};
    return true;
}

/* -1: go on; else the exit status. */
static int parse_arguments(int argc, char **argv, struct arguments *a) {
    static const struct option long_options[] = {{"pid", required_argument, NULL, OPTION_PID},
                                                 {"plan", no_argument, NULL, OPTION_PLAN},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {"version", no_argument, NULL, 'V'},
                                                 {"print-settings", no_argument, NULL, OPTION_PRINT_SETTINGS},
                                                 {"print-commands", no_argument, NULL, OPTION_PRINT_COMMANDS},
                                                 {NULL, 0, NULL, 0}};
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":f:cVhD:", long_options, NULL)) != -1) {
        switch (option) {
        case 'f':
            a->file = optarg;
            break;
        case 'c':
            a->check_only = true;
            break;
        case 'V':
            print_version();
            return EXIT_SUCCESS;
        case 'h':
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        case 'D':
            if (!add_override(a, optarg)) return wrong_usage("-D takes KEY=VALUE, not", optarg);
            break;
        case OPTION_PID:
            a->pid_path = optarg;
            break;
        case OPTION_PLAN:
            a->plans = true;
            break;
        case OPTION_PRINT_SETTINGS:
            config_print_reference(stdout);
            return EXIT_SUCCESS;
        case OPTION_PRINT_COMMANDS:
            commands_print(stdout);
            return EXIT_SUCCESS;
        case ':':
            return wrong_usage("a value is missing after", argv[optind - 1]);
        default:
            return wrong_usage("unknown option", argv[optind - 1]);
        }
    }
    if (a->plans && !a->check_only) return wrong_usage("--plan goes with -c", NULL);
    return optind < argc ? wrong_usage("unexpected argument", argv[optind]) : -1;
}

static const char *find_file(void) {
    static const char *const places[] = {"conf/loomgate.yaml", "/etc/loomgate/loomgate.yaml"};
    for (size_t i = 0; i < LG_COUNT(places); i++)
        if (access(places[i], F_OK) == 0) return places[i];
    return NULL;
}

/* The process's life; takes the configuration over. */
static int serve(struct config *config, const struct arguments *a) {
    struct control_library libraries[LIBRARY_COUNT];
    const struct control_options options = {a->file, a->overrides, a->override_count, libraries, LIBRARY_COUNT};
    name_libraries(libraries);
    struct control_server *control = control_server_new(&options);
    const struct runtime_source source = {
        .path = a->file, .overrides = a->overrides, .override_count = a->override_count, .argv = a->words};
    int status = runtime_run(config, &source, a->pid_path, control_server_hooks(control));
    control_server_free(control);
    return status;
}

/* What the running process says of the file. */
static bool print_plan(const struct config *config, const char *file) {
    struct error e;
    const char *socket = plan_socket(config);
    char *answer = NULL;
    if (socket)
        answer = plan_ask(socket, file, PLAN_WAIT_US, &e);
    else
        error_set(&e, "nobody can be asked what %s would change: none of its global.control has `level: admin`", file);
    if (answer)
        fputs(answer, stdout);
    else
        fprintf(stderr, "loomgate: --plan: %s\n", e.text);
    bool ok = answer != NULL;
    free(answer);
    return ok;
}

static int check(const struct config *config, const struct arguments *a) {
    printf("%s: valid\n", a->file);
    return !a->plans || print_plan(config, a->file) ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Whoever waits for this process to take over hears why it does not: the first error. */
static void decline(struct diagnostics *d) {
    char why[512] = "the configuration is in error";
    const struct diagnostic *one = NULL;
    for (size_t i = 0; (one = diagnostics_find(d, i)) && one->severity != SEVERITY_ERROR; i++) continue;
    if (one && one->place.source)
        snprintf(why, sizeof why, "%s:%u:%u: %s", one->place.source->name, one->place.line, one->place.column,
                 one->text);
    else if (one)
        snprintf(why, sizeof why, "%s", one->text);
    heir_decline(why);
}

static int load_and_serve(const struct arguments *a) {
    struct diagnostics d;
    diagnostics_init(&d);
    struct config *config = config_load(a->file, a->overrides, a->override_count, &d);
    diagnostics_print(&d, stderr);
    if (!config && !a->check_only) decline(&d);
    diagnostics_fini(&d);
    if (!config) return EXIT_FAILURE;
    if (!a->check_only) return serve(config, a);
    int status = check(config, a);
    config_free(config);
    return status;
}

/* Taking -D apart changes the arguments; an upgrade starts with the same ones. */
static char **copy_words(int argc, char *const *argv) {
    char **words = xcalloc((size_t)argc + 1, sizeof *words);
    for (int i = 0; i < argc; i++) words[i] = xstrdup(argv[i]);
    return words;
}

static void free_words(char **words) {
    for (char **word = words; *word; word++) free(*word);
    free(words);
}

int main(int argc, char **argv) {
    struct arguments a = {.words = copy_words(argc, argv)};
    int status = parse_arguments(argc, argv, &a);
    if (status < 0 && !a.file) a.file = find_file();
    if (status < 0 && !a.file)
        status = wrong_usage("there is neither conf/loomgate.yaml nor /etc/loomgate/loomgate.yaml; name a file with -f",
                             NULL);
    if (status < 0) status = load_and_serve(&a);
    free(a.overrides);
    free_words(a.words);
    return status;
}
