/*
 * Sends the requests of a JSON array on standard input with one http_client and
 * prints what came of each, for t/10-http.t: names are those of http.h.  A member
 * "probe" is a tls_probe instead.  The argument is a list of networks that are
 * allowed.
 */
#include "http.h"
#include "tls_probe.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char *
text(const json_t *in, const char *name)
{
    return json_string_value(json_object_get(in, name));
}

static int
number(const json_t *in, const char *name)
{
    return json_integer_value(json_object_get(in, name));
}

static bool
flag(const json_t *in, const char *name)
{
    return json_is_true(json_object_get(in, name));
}

/* A server whose certificate has no common name of "module" is not meant. */
static const char *
check(X509 *leaf)
{
    char  cn[64];

    certctl_x509_common_name(leaf, cn, sizeof(cn));

    return strcmp(cn, "module") == 0 ? NULL : "it is not of a module";
}

static json_t *
failure(const struct error *err)
{
    return json_pack("{s:s, s:s}", "error", err_infos[err->code].type,
                     "detail", err->detail);
}

static json_t *
send_one(struct http_client *client, const json_t *in)
{
    json_t               *out, *headers, *list = json_object_get(in, "headers");
    const char           *lines[16] = { NULL };
    struct error          err = { 0 };
    struct http_response  res = { 0 };

    struct http_request   req = {
        .method = text(in, "method"), .url = text(in, "url"),
        .headers = lines, .content_type = text(in, "content_type"),
        .body = text(in, "body"), .proxy = text(in, "proxy"),
        .unix_socket = text(in, "unix_socket"), .address = text(in, "address"),
        .connect_ms = number(in, "connect_ms"),
        .total_ms = number(in, "total_ms"),
        .answer_max = number(in, "answer_max"),
        .reach = number(in, "reach"),
        .tls = {
            .ca_pem = text(in, "ca_pem"), .cert_pem = text(in, "cert_pem"),
            .key_pem = text(in, "key_pem"), .pin = text(in, "pin"),
            .uri = text(in, "uri"), .only_tls13 = flag(in, "only_tls13"),
            .check = flag(in, "check") ? check : NULL
        }
    };

    for (size_t i = 0; i < json_array_size(list) && i < 15; i++) {
        lines[i] = json_string_value(json_array_get(list, i));
    }

    req.body_len = req.body ? strlen(req.body) : 0;

    if (!http_send(client, &req, &res, &err)) {
        return failure(&err);
    }

    headers = json_object();

    for (size_t i = 0; i < res.nheaders; i++) {
        json_object_set_new(headers, res.headers[i].name,
                            json_string(res.headers[i].value));
    }

    out = json_pack("{s:b, s:i, s:s%, s:i, s:s, s:s?, s:o, s:s?}",
                    "verified", res.verified, "status", res.status, "body", res.body, res.body_len,
                    "retry_after", res.retry_after,
                    "fingerprint", res.fingerprint, "chain_pem", res.chain_pem,
                    "headers", headers, "etag", http_header(&res, "etag"));
    http_response_free(&res);

    return out;
}

static json_t *
probe_one(const struct http_client *client, const json_t *in)
{
    json_t            *out;
    struct error       err = { 0 };
    struct tls_probe   seen = { 0 };

    struct tls_probe_request  req = {
        .host = text(in, "host"), .port = number(in, "port"),
        .sni = text(in, "sni"), .sigalgs = text(in, "sigalgs"),
        .timeout_ms = number(in, "timeout_ms"), .staple = flag(in, "staple"),
        .reach = number(in, "reach"),
        .check = flag(in, "check") ? check : NULL
    };

    if (!tls_probe(client, &req, &seen, &err)) {
        return failure(&err);
    }

    out = json_pack("{s:s, s:s, s:i, s:s, s:f}", "fingerprint", seen.fingerprint,
                    "chain_pem", seen.chain_pem,
                    "staple_len", (int) seen.staple_len,
                    "protocol", seen.protocol, "ms", seen.ms);
    tls_probe_free(&seen);

    return out;
}

int
main(int argc, char **argv)
{
    struct error         err = { 0 };
    struct networks      allowed = { 0 };
    struct http_client  *client = http_client_new(&allowed, &err);
    json_t              *in = json_loadf(stdin, 0, NULL), *out = json_array();

    if (!client || !json_is_array(in)
        || (argc > 1 && !networks_parse(argv[1], &allowed, &err)))
    {
        fprintf(stderr, "standard input is no JSON array, or %s\n", err.detail);
        return 2;
    }

    for (size_t i = 0; i < json_array_size(in); i++) {
        const json_t  *one = json_array_get(in, i);
        const json_t  *probe = json_object_get(one, "probe");

        json_array_append_new(out, probe ? probe_one(client, probe)
                                         : send_one(client, one));
    }

    json_dumpf(out, stdout, JSON_COMPACT);
    json_decref(out);
    json_decref(in);
    http_client_free(client);

    return 0;
}
