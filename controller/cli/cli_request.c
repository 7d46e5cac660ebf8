/* One call of the REST API. */
#include "cli.h"

#include "http.h"
#include "ossl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define FILE_MAX  (1024 * 1024)

CLEANUP_FUNC(json, json_t *, json_decref)

typedef FILE  stream;

CLEANUP_FUNC(stream, stream *, fclose)


/* The file's text, free() it. */
static char *
read_file(const char *name, const char *what, struct error *err)
{
    size_t  len;

    CLEANUP(stream) stream  *in = fopen(name, "re");
    CLEANUP(mem) char       *text = malloc(FILE_MAX + 1);

    if (!in || !text) {
        error_set(err, ERR_INVALID, "%s %s: %s", what, name, strerror(errno));
        return NULL;
    }

    len = fread(text, 1, FILE_MAX + 1, in);
    if (ferror(in) || len > FILE_MAX) {
        error_set(err, ERR_INVALID, "%s %s: %s", what, name,
                  ferror(in) ? strerror(errno) : "larger than 1 MiB");
        return NULL;
    }

    text[len] = '\0';
    return TAKE(text);
}

static void
wiped_cleanup(char **text)
{
    if (*text) {
        OPENSSL_cleanse(*text, strlen(*text));
        free(*text);
    }
}

/* Loopback is no exception: any local user may listen at a free port. */
const char *
cli_server_check(const struct cli *cli)
{
    static const char  scheme[] = "https://";

    if (strncasecmp(cli->server, scheme, sizeof(scheme) - 1) == 0
        || (!cli->key_file && (!cli->api_key || !*cli->api_key)))
    {
        return NULL;
    }

    return "the API key is sent over https:// only, also on loopback (RFC 6750 "
           "5.3): correct --server or CERTCTL_SERVER_URL";
}

/* "Authorization: Bearer ..." or NULL when there is no key. */
static bool
authorization(const struct cli *cli, char **ret, struct error *err)
{
    size_t  len;

    CLEANUP(wiped) char  *file = NULL;
    const char           *key = cli->api_key;

    if (cli->key_file) {
        key = file = read_file(cli->key_file, "API key", err);
        if (!key) {
            return false;
        }
    }

    if (!key || !*key) {
        return true;
    }

    len = strcspn(key, " \t\r\n");
    if (asprintf(ret, "Authorization: Bearer %.*s", (int) len, key) == -1) {
        *ret = NULL;
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    return true;
}

/* The server's own words: {"error", "message"} of api-facts 1.1. */
static bool
refused(int status, const json_t *answer, struct error *err)
{
    const char  *title = json_string_value(json_object_get(answer, "error"));
    const char  *message = json_string_value(json_object_get(answer,
                                                             "message"));
    const char  *id = json_string_value(json_object_get(answer, "request_id"));
    json_t      *counts = json_object_get(answer, "counts");

    CLEANUP(mem) char  *what = counts ? json_dumps(counts, JSON_COMPACT) : NULL;

    return error_set(err, ERR_PEER, "%d %s%s%s%s%s%s%s%s", status,
                     title ? title : "no JSON in the answer",
                     message ? ": " : "", message ? message : "", what ? ": " : "",
                     what ? what : "", id ? " (request " : "", id ? id : "", id ? ")" : "");
}

static bool
understand(const struct http_response *res, json_t **ret, struct error *err)
{
    json_error_t  why;

    CLEANUP(json) json_t  *answer = res->body_len == 0
                                    ? json_null()
                                    : json_loadb(res->body, res->body_len,
                                                 JSON_DECODE_ANY, &why);

    if (res->status >= 400) {
        return refused(res->status, answer, err);
    }

    if (!answer) {
        return error_set(err, ERR_PEER,
                         "%d, but the answer is no JSON (RFC 8259): %s",
                         res->status, why.text);
    }

    *ret = TAKE(answer);
    return true;
}

static bool
exchange(const struct cli *cli, struct http_request *req,
    struct http_response *res, struct error *err)
{
    CLEANUP(wiped) char                       *auth = NULL;
    CLEANUP(mem) char                         *roots = NULL;
    CLEANUP(http_client) struct http_client   *client = NULL;

    if (cli->ca_file) {
        roots = read_file(cli->ca_file, "CA bundle", err);
        if (!roots) {
            return false;
        }
    }

    if (!authorization(cli, &auth, err)) {
        return false;
    }

    client = http_client_new(NULL, err);
    if (!client) {
        return false;
    }

    req->headers = (const char *[]) { "Accept: application/json", auth, NULL };
    req->reach = HTTP_ANYWHERE;
    req->tls.ca_pem = roots;

    return http_send(client, req, res, err);
}

bool
cli_request(const struct cli *cli, const char *method, const char *path,
    json_t *body, int *status, json_t **ret, struct error *err)
{
    struct http_request   req = { .method = method };

    CLEANUP(mem) char                           *url = NULL;
    CLEANUP(mem) char                           *text = NULL;
    CLEANUP(http_response) struct http_response  res = { 0 };

    size_t                                       len;
    FILE                                        *out = open_memstream(&url, &len);

    if (out) {
        http_url_base(out, cli->server);
        fputs(path, out);
    }

    if (out == NULL || fclose(out) != 0) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    if (body) {
        text = json_dumps(body, JSON_COMPACT);
        req.content_type = "application/json";
        req.body = text;
        req.body_len = text ? strlen(text) : 0;
    }

    req.url = url;

    if (!exchange(cli, &req, &res, err)) {
        return false;
    }

    if (status) {
        *status = res.status;
    }

    return understand(&res, ret, err);
}

static bool
write_path(const struct cli *cli, FILE *out, struct error *err)
{
    bool                      ok = true;
    char                      mark = '?';
    const char               *hole = strstr(cli->command->path, "{}");
    const struct cli_option  *o = cli->command->options;

    if (hole) {
        fprintf(out, "%.*s", (int) (hole - cli->command->path),
                cli->command->path);
        ok = http_url_segment(out, cli->argument, err);
        fputs(hole + 2, out);

    } else {
        fputs(cli->command->path, out);
    }

    for (int i = 0; o && o[i].name; i++) {
        if (o[i].where >= CLI_QUERY && cli->values[i]) {
            fprintf(out, "%c%s=", mark, o[i].field);
            http_url_text(out, o[i].where == CLI_QUERY ? cli->values[i] : "true");
            mark = '&';
        }
    }

    return ok;
}

json_t *
cli_body(const struct cli *cli)
{
    json_t                   *body = json_object();
    const struct cli_option  *o = cli->command->options;

    if (cli->command->field) {
        json_object_set_new(body, cli->command->field,
                            json_string(cli->argument));
    }

    for (int i = 0; o && o[i].name; i++) {
        if (!cli->values[i] || o[i].where >= CLI_QUERY) {
            continue;
        }

        json_object_set_new(body, o[i].field,
                            o[i].where == CLI_BODY_FLAG
                            ? json_true() : json_string(cli->values[i]));
    }

    if (json_object_size(body) == 0) {
        json_decref(body);
        return NULL;
    }

    if (cli->command->complete) {
        cli->command->complete(body);
    }

    return body;
}

bool
cli_call(const struct cli *cli, json_t **ret, struct error *err)
{
    size_t  len;
    bool    ok;

    CLEANUP(mem) char     *path = NULL;
    CLEANUP(json) json_t  *body = NULL;
    FILE                  *out = open_memstream(&path, &len);

    if (!out) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    ok = write_path(cli, out, err);

    if (fclose(out) != 0 || !ok) {
        return !ok ? false : error_set(err, ERR_INTERNAL, "out of memory");
    }

    body = cli_body(cli);

    return cli_request(cli, cli->command->method, path, body, NULL, ret, err);
}
