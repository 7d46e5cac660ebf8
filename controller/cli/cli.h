/* The command line: what a command is, and what the files of this room share. */
#pragma once
#include "error.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define CLI_OPTIONS_MAX  8

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

enum cli_where {
    CLI_BODY,          /* a string of the JSON body */
    CLI_BODY_FLAG,     /* true in the JSON body; takes no value */
    CLI_QUERY,         /* a parameter of the query */
    CLI_QUERY_FLAG     /* true as a parameter of the query; takes no value */
};

/* "--name VALUE" of one command. */
struct cli_option {
    const char      *name;      /* without "--" */
    const char      *field;     /* as the API calls it */
    enum cli_where   where;
    const char      *value;     /* what the value is, for help; NULL: a flag */
};

struct cli_column {
    const char  *title;
    const char  *field;
};

struct cli;

/*
 * One row is one command: the words that call it, one request, and the columns of
 * its answer.  A command that is more than one request has a function.
 */
struct cli_command {
    const char               *words;      /* "agents add" */
    const char               *argument;   /* what the one argument is, or NULL */
    const char               *field;      /* the argument's field in the body; NULL:
                                             it takes the place of {} in path */
    const char               *method;
    const char               *path;
    const struct cli_option  *options;    /* NULL name ends */
    const struct cli_column  *columns;    /* of a list; NULL title ends */
    const char               *help;
    const char               *good;       /* status of an answer that is good news, else
                                             the exit code is 1; NULL: any */
    bool                      local;      /* asks no controller */
    const char             *(*check)(const struct cli *cli);   /* NULL: fine; else
                                             what is wrong, before anything is sent */
    void                    (*complete)(json_t *body);     /* adds what was left out */
    enum cli_exit           (*run)(const struct cli *cli);     /* instead of a request */
};

extern const struct cli_command  cli_commands[];     /* NULL words end */

/* What the command line and the environment say. */
struct cli {
    const char                *server;
    const char                *ca_file;
    const char                *key_file;
    const char                *api_key;          /* from the environment */
    bool                       json;
    const struct cli_command  *command;
    const char                *argument;
    const char                *values[CLI_OPTIONS_MAX];    /* beside command->options */
};

/* Value given for an option of the command, NULL when it was not given. */
const char *cli_value(const struct cli *cli, const char *name);

/* NULL, or why the API key is not sent to cli->server. */
const char *cli_server_check(const struct cli *cli);

/*
 * One request.  *ret is the answer's JSON (json_null when it had no body).  False
 * with a sentence: no answer, or one of 400 and above; *status, unless NULL, is
 * set whenever there was an answer.
 */
bool cli_request(const struct cli *cli, const char *method, const char *path,
    json_t *body, int *status, json_t **ret, struct error *err);

/* The body that argument and options make; NULL when the command has none. */
json_t *cli_body(const struct cli *cli);

/* The command's own request: path, query and body from its row. */
bool cli_call(const struct cli *cli, json_t **ret, struct error *err);

/* A list as a table, one object as names and values, or either as JSON. */
void cli_print(const struct cli *cli, const json_t *answer);

enum cli_exit cli_fail(const struct error *err);

enum cli_exit cli_status(const struct cli *cli);
enum cli_exit cli_version(const struct cli *cli);
enum cli_exit cli_store_list(const struct cli *cli);
enum cli_exit cli_store_verify(const struct cli *cli);
enum cli_exit cli_store_export(const struct cli *cli);
const char *cli_agent_check(const struct cli *cli);
const char *cli_agent_set_check(const struct cli *cli);
const char *cli_agent_remove_check(const struct cli *cli);
enum cli_exit cli_agent_add(const struct cli *cli);
void cli_agent_complete(json_t *body);
const char *cli_agent_reset_check(const struct cli *cli);
