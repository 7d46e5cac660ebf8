/* certctl: reads the command line, runs one command, tells by its exit code. */
#include "cli.h"

#include "cleanup.h"
#include "wire.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SERVER  "https://127.0.0.1:8443"

CLEANUP_FUNC(json, json_t *, json_decref)

/* Options that every command has. */
static const struct {
    const char  *name;
    size_t       offset;         /* of a const char * in struct cli */
    const char  *environment;
    const char  *value;
    const char  *help;
} globals[] = {
    { "server", offsetof(struct cli, server), "CERTCTL_SERVER_URL", "URL",
      "the controller (" DEFAULT_SERVER ")" },
    { "ca-bundle", offsetof(struct cli, ca_file),
      "CERTCTL_SERVER_CA_BUNDLE_PATH", "FILE",
      "roots to trust instead of the system's" },
    { "api-key-file", offsetof(struct cli, key_file), NULL, "FILE",
      "a file that holds the API key; else CERTCTL_API_KEY does" }
};

#define GLOBALS  (sizeof(globals) / sizeof(globals[0]))


static void
print_usage(FILE *out)
{
    const struct cli_command  *c;

    fprintf(out, "usage: certctl [options] command [argument] [options]\n\n");

    for (c = cli_commands; c->words; c++) {
        fprintf(out, "  %-14s %-4s %s\n", c->words,
                c->argument ? c->argument : "", c->help);

        for (const struct cli_option *o = c->options; o && o->name; o++) {
            fprintf(out, "  %-14s      --%s%s%s\n", "", o->name,
                    o->value ? " " : "", o->value ? o->value : "");
        }
    }

    fprintf(out, "  %-14s %-4s %s\n\n", "help", "", "this text; also -h, --help after any command");

    for (size_t i = 0; i < GLOBALS; i++) {
        fprintf(out, "  --%s %-*s %s%s%s%s\n", globals[i].name,
                (int) (16 - strlen(globals[i].name)), globals[i].value,
                globals[i].help, globals[i].environment ? " [" : "",
                globals[i].environment ? globals[i].environment : "",
                globals[i].environment ? "]" : "");
    }

    fprintf(out, "  --format %-10s table for people (default), json for scripts\n"
            "  --version           the version of this program alone\n"
            "\nExit codes: 0 done, 1 failed, 2 the command line is wrong.\n",
            "FORMAT");
}

__attribute__((format(printf, 1, 2)))
static enum cli_exit
misuse(const char *fmt, ...)
{
    va_list  ap;

    fprintf(stderr, "certctl: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, " (certctl help)\n");

    return CLI_USAGE;
}

/* The command whose words are the first of words; *used says how many. */
static const struct cli_command *
find_command(char **words, int n, int *used)
{
    char  text[64];

    for (*used = 2; *used > 0; (*used)--) {
        if (*used > n) {
            continue;
        }

        snprintf(text, sizeof(text), "%s%s%s", words[0], *used == 2 ? " " : "",
                 *used == 2 ? words[1] : "");

        for (const struct cli_command *c = cli_commands; c->words; c++) {
            if (strcmp(c->words, text) == 0) {
                return c;
            }
        }
    }

    return NULL;
}

const char *
cli_value(const struct cli *cli, const char *name)
{
    const struct cli_option  *o = cli->command->options;

    for (int i = 0; o && o[i].name; i++) {
        if (strcmp(o[i].name, name) == 0) {
            return cli->values[i];
        }
    }

    return NULL;
}

static bool
is_option(const char *word, const char *name)
{
    size_t  len = strlen(name);

    return strncmp(word, name, len) == 0
           && (word[len] == '\0' || word[len] == '=');
}

/*
 * Where the value of an option goes, NULL for an unknown one; *flag when it
 * takes none.  Options of a command are known once the command is.
 */
static const char **
find_option(struct cli *cli, const char *word, bool *flag)
{
    const struct cli_option  *o = cli->command ? cli->command->options : NULL;

    *flag = false;

    for (size_t i = 0; i < GLOBALS; i++) {
        if (is_option(word, globals[i].name)) {
            return (const char **) ((char *) cli + globals[i].offset);
        }
    }

    for (int i = 0; o && o[i].name; i++) {
        if (is_option(word, o[i].name)) {
            *flag = o[i].value == NULL;
            return &cli->values[i];
        }
    }

    return NULL;
}

/* Takes options out of argv; words are what is left. */
static enum cli_exit
take_options(struct cli *cli, int argc, char **argv, char **words, int *n,
    const char **format)
{
    bool          flag;
    char         *equals;
    const char  **place;

    *n = 0;

    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) != 0) {
            words[(*n)++] = argv[i];
            continue;
        }

        flag = false;
        place = is_option(argv[i] + 2, "format")
                ? format : find_option(cli, argv[i] + 2, &flag);
        equals = strchr(argv[i], '=');

        if (!place) {
            return misuse("%s is no option here", argv[i]);
        }

        if (flag && equals) {
            return misuse("%s takes no value", argv[i]);
        }

        if (!flag && !equals && i + 1 == argc) {
            return misuse("%s needs a value", argv[i]);
        }

        *place = flag ? "yes" : equals ? equals + 1 : argv[++i];
    }

    return CLI_OK;
}

/* The command is found first, as it says which options there are. */
static enum cli_exit
parse(struct cli *cli, int argc, char **argv, char **words)
{
    int             n, used, at;
    const char     *format = "table";
    enum cli_exit   rc;

    for (at = 0; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        at += strchr(argv[at], '=') == NULL;
    }

    cli->command = at < argc ? find_command(argv + at, argc - at, &used) : NULL;
    if (!cli->command) {
        return misuse(at < argc ? "no such command: %s %s" : "no command%s%s",
                      at < argc ? argv[at] : "",
                      at + 1 < argc ? argv[at + 1] : "");
    }

    rc = take_options(cli, argc, argv, words, &n, &format);
    if (rc != CLI_OK) {
        return rc;
    }

    if (strcmp(format, "json") != 0 && strcmp(format, "table") != 0) {
        return misuse("--format is table or json");
    }

    cli->json = strcmp(format, "json") == 0;

    if (n - used != (cli->command->argument ? 1 : 0)) {
        return misuse(cli->command->argument ? "%s takes one %s"
                                             : "%s takes no argument%s",
                      cli->command->words,
                      cli->command->argument ? cli->command->argument : "");
    }

    cli->argument = cli->command->argument ? words[used] : NULL;

    return CLI_OK;
}

static bool
is_good(const struct cli_command *command, const json_t *answer)
{
    const char  *status = json_string_value(json_object_get(answer, "status"));

    return command->good == NULL || (status && strcmp(status, command->good) == 0);
}

/* What was printed is read by somebody: a full disk or a closed pipe is a failure. */
static enum cli_exit
finish(enum cli_exit rc)
{
    bool  failed = ferror(stdout) != 0;

    if (fclose(stdout) != 0 || failed) {
        fprintf(stderr, "certctl: standard output cannot be written: %s\n",
                errno ? strerror(errno) : "it was cut short");
        return CLI_FAILED;
    }

    return rc;
}

/* Whether "-h", "--help" is among the words: nothing is sent then. */
static bool
asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            return true;
        }
    }

    return strcmp(argv[1], "help") == 0;
}

static enum cli_exit
run(const struct cli *cli)
{
    const char            *wrong;
    struct error           err = { 0 };
    CLEANUP(json) json_t  *answer = NULL;

    if (cli->argument && !*cli->argument) {
        return misuse("%s takes one %s", cli->command->words,
                      cli->command->argument);
    }

    wrong = cli->command->local ? NULL : cli_server_check(cli);

    if (!wrong && cli->command->check) {
        wrong = cli->command->check(cli);
    }

    if (wrong) {
        return misuse("%s", wrong);
    }

    if (cli->command->run) {
        return cli->command->run(cli);
    }

    if (!cli_call(cli, &answer, &err)) {
        return cli_fail(&err);
    }

    cli_print(cli, answer);

    return is_good(cli->command, answer) ? CLI_OK : CLI_FAILED;
}

int
main(int argc, char **argv)
{
    enum cli_exit     rc;
    const char       *value;
    struct cli        cli = { .server = DEFAULT_SERVER };
    CLEANUP(mem) char *words = calloc(argc, sizeof(char *));

    for (size_t i = 0; i < GLOBALS; i++) {
        value = globals[i].environment ? getenv(globals[i].environment) : NULL;

        if (value && *value) {
            *(const char **) ((char *) &cli + globals[i].offset) = value;
        }
    }

    cli.api_key = getenv("CERTCTL_API_KEY");

    if (argc == 1) {
        print_usage(stderr);
        return CLI_USAGE;
    }

    if (asks_for_help(argc, argv)) {
        print_usage(stdout);
        return finish(CLI_OK);
    }

    if (strcmp(argv[1], "--version") == 0) {
        puts("certctl " CERTCTL_VERSION);
        return finish(CLI_OK);
    }

    rc = parse(&cli, argc - 1, argv + 1, (char **) (void *) words);

    return rc == CLI_OK ? finish(run(&cli)) : rc;
}
