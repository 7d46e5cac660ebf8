/* One request to one server over libcurl, on connections that are kept. */
#include "http_internal.h"

#include "random.h"
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * libcurl compares what it knows of a connection's TLS settings before it uses
 * it again, but pin, roots and identity here are set behind its back.  So each
 * set of settings has a lane, a handle with connections of its own; the one that
 * was idle longest makes room.
 */
#define LANES      16
#define LANE_KEEP  8            /* open connections in one lane */

struct lane {
    char           key[CERTCTL_HEX256];
    CURL          *easy;
    unsigned long  used;
};

struct http_client {
    const struct networks  *allowed;
    struct lane             lanes[LANES];
    unsigned long           clock;
};

struct http_client *
http_client_new(const struct networks *allowed, struct error *err)
{
    struct http_client  *client;

    client = calloc(1, sizeof(*client));
    if (!client) {
        error_set(err, ERR_INTERNAL, "out of memory");
        return NULL;
    }

    client->allowed = allowed;

    return client;
}

const struct networks *
http_client_allowed(const struct http_client *client)
{
    return client->allowed;
}

void
http_client_free(struct http_client *client)
{
    if (!client) {
        return;
    }

    for (int i = 0; i < LANES; i++) {
        curl_easy_cleanup(client->lanes[i].easy);
    }

    free(client);
}

/* A digest of everything that decides whom a connection may lead to. */
static void
lane_key(const struct http_request *req, char *key)
{
    size_t  at;
    char    reach[2] = { '0' + req->reach, '\0' };
    char    all[10 * CERTCTL_HEX256];

    const char  *parts[] = {
        req->tls.ca_pem, req->tls.cert_pem, req->tls.key_pem, req->tls.pin,
        req->tls.uri, req->tls.only_tls13 ? "1.3" : "", req->proxy,
        req->address, reach, req->tls.check ? "checked" : ""
    };

    at = 0;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        /* NULL and "" are different settings */
        sha256_hex(parts[i] ? parts[i] : "\1",
                   parts[i] ? strlen(parts[i]) : 1, all + at);
        at += CERTCTL_HEX256 - 1;
    }

    sha256_hex(all, at, key);
    OPENSSL_cleanse(all, sizeof(all));
}

static CURL *
lane_take(struct http_client *client, const struct http_request *req,
    struct error *err)
{
    char          key[CERTCTL_HEX256];
    struct lane  *lane, *oldest;

    lane_key(req, key);
    oldest = &client->lanes[0];

    for (lane = client->lanes; lane < client->lanes + LANES; lane++) {
        if (lane->easy && strcmp(lane->key, key) == 0) {
            lane->used = ++client->clock;
            curl_easy_reset(lane->easy);    /* keeps its connections */
            return lane->easy;
        }

        if (lane->used < oldest->used) {
            oldest = lane;
        }
    }

    curl_easy_cleanup(oldest->easy);
    memset(oldest, 0, sizeof(*oldest));

    oldest->easy = curl_easy_init();
    if (!oldest->easy) {
        error_set(err, ERR_INTERNAL, "libcurl: out of memory");
        return NULL;
    }

    memcpy(oldest->key, key, sizeof(key));
    oldest->used = ++client->clock;

    return oldest->easy;
}

static curl_socket_t
open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct error           why;
    struct http_exchange  *x = data;

    (void) purpose;

    if (address->family != AF_UNIX
        && !http_guard(x->allowed, x->req->reach, &address->addr, &why))
    {
        /* a name has several: what became of one that is allowed tells more */
        x->why = x->tried ? x->why : why;
        return CURL_SOCKET_BAD;
    }

    x->why = x->tried ? x->why : (struct error) { 0 };
    x->tried = true;

    return socket(address->family, address->socktype | SOCK_CLOEXEC,
                  address->protocol);
}

static size_t
take_header(char *line, size_t size, size_t n, void *data)
{
    struct http_exchange  *x = data;

    (void) line;

    if (!x->looked) {
        http_tls_look(x);       /* the connection is known only meanwhile */
    }

    return size * n;
}

/* Room for more bytes and a NUL; what was there is wiped when it moves. */
static bool
grow(struct http_exchange *x, size_t more)
{
    char    *bigger;
    size_t   size, want = x->ret.body_len + more + 1;

    if (want <= x->body_size) {
        return true;
    }

    size = want < 4096 ? 4096 : want * 2;
    bigger = OPENSSL_clear_realloc(x->ret.body, x->body_size, size);

    if (!bigger) {
        return error_set(&x->why, ERR_INTERNAL, "out of memory");
    }

    x->ret.body = bigger;
    x->body_size = size;

    return true;
}

static size_t
take_body(char *part, size_t size, size_t n, void *data)
{
    size_t                 len = size * n;
    struct http_exchange  *x = data;
    size_t                 max = x->req->answer_max ? x->req->answer_max
                                                    : HTTP_ANSWER_MAX;

    if (len > max - x->ret.body_len) {
        error_set(&x->why, ERR_PEER, "the answer is larger than %zu bytes",
                  max);
        return 0;
    }

    if (!grow(x, len)) {
        return 0;
    }

    memcpy(x->ret.body + x->ret.body_len, part, len);
    x->ret.body_len += len;

    return len;
}

static void
set_limits(CURL *easy, const struct http_request *req)
{
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "certctl/" CERTCTL_VERSION);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_MAXCONNECTS, (long) LANE_KEEP);
    curl_easy_setopt(easy, CURLOPT_PROXY, req->proxy ? req->proxy : "");
    curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, req->unix_socket);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long) (req->connect_ms ? req->connect_ms
                                             : HTTP_CONNECT_MS));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
                     (long) (req->total_ms ? req->total_ms : HTTP_TOTAL_MS));
}

static void
set_tls(CURL *easy, const struct http_tls *tls, struct http_exchange *x)
{
    bool  named = !tls->pin && !tls->uri;

    curl_easy_setopt(easy, CURLOPT_SSLVERSION,
                     (long) (tls->only_tls13 ? CURL_SSLVERSION_TLSv1_3
                                             : CURL_SSLVERSION_TLSv1_2));
    curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, named ? 2L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, http_tls_context);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, x);

    if (tls->pin || tls->ca_pem) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
}

static void
set_method(CURL *easy, const struct http_request *req)
{
    const char  *method = req->method ? req->method : "GET";

    if (req->body || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                         (curl_off_t) req->body_len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, req->body ? req->body : "");
    }

    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    }

    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
}

static void
set_answer(CURL *easy, struct http_exchange *x)
{
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, x);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
}

typedef struct curl_slist  slist;

CLEANUP_FUNC(slist, slist *, curl_slist_free_all)

static bool
append(slist **list, const char *line, struct error *err)
{
    slist  *longer;

    if (strpbrk(line, "\r\n")) {
        return error_set(err, ERR_INVALID,
                         "RFC 9110 5.5: line break in a header");
    }

    longer = curl_slist_append(*list, line);
    if (!longer) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    *list = longer;
    return true;
}

static bool
build_headers(const struct http_request *req, slist **list, struct error *err)
{
    char  type[256];

    /* "Name:" takes out what libcurl would add */
    snprintf(type, sizeof(type), "Content-Type:%s%s",
             req->content_type ? " " : "",
             req->content_type ? req->content_type : "");

    if (!append(list, "Expect:", err) || !append(list, type, err)) {
        return false;
    }

    for (const char *const *h = req->headers; h && *h; h++) {
        if (!append(list, *h, err)) {
            return false;
        }
    }

    return true;
}

/* "host:port:address": where the host is, without asking a resolver. */
static bool
build_address(const struct http_request *req, CURLU *url, slist **list,
    struct error *err)
{
    bool   ok;
    char   entry[512];
    char  *host = NULL, *port = NULL;

    if (!req->address) {
        return true;
    }

    curl_url_get(url, CURLUPART_HOST, &host, 0);
    curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    ok = host && port && (size_t) snprintf(entry, sizeof(entry), "%s:%s:%s",
                                           host, port, req->address)
                         < sizeof(entry);
    curl_free(host);
    curl_free(port);

    return ok ? append(list, entry, err)
              : error_set(err, ERR_INVALID, "the URL names no host and port");
}

/* "POST https://edge1:9443/path": for errors, without user, query and fragment. */
static void
describe(const struct http_request *req, CURLU *url, char *out, size_t size)
{
    char                  *text = NULL;
    static const CURLUPart  hidden[] = {
        CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY, CURLUPART_FRAGMENT
    };

    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        curl_url_set(url, hidden[i], NULL, 0);
    }

    curl_url_get(url, CURLUPART_URL, &text, 0);
    snprintf(out, size, "%s %.200s", req->method ? req->method : "GET",
             text ? text : "?");
    curl_free(text);
}

static bool
collect(struct http_exchange *x, struct error *err)
{
    long                 status = 0;
    size_t               n;
    curl_off_t           after = 0;
    struct curl_header  *h;
    struct http_header  *header;

    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(x->easy, CURLINFO_RETRY_AFTER, &after);
    x->ret.verified = x->tls;
    x->ret.status = status;
    x->ret.retry_after = after > 86400 ? 86400 : after;

    n = 0;

    for (h = NULL; (h = curl_easy_nextheader(x->easy, CURLH_HEADER, -1, h)); ) {
        n++;
    }

    x->ret.headers = calloc(n + 1, sizeof(struct http_header));
    if (!x->ret.headers || !grow(x, 0)) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    for (h = NULL; (h = curl_easy_nextheader(x->easy, CURLH_HEADER, -1, h)); ) {
        header = &x->ret.headers[x->ret.nheaders++];
        header->name = strdup(h->name);
        header->value = strdup(h->value);

        if (!header->name || !header->value) {
            return error_set(err, ERR_INTERNAL, "out of memory");
        }
    }

    x->ret.body[x->ret.body_len] = '\0';

    return true;
}

static bool
fail(struct http_exchange *x, CURLcode code, const char *text, struct error *err)
{
    if (x->why.code != ERR_NONE) {
        *err = x->why;
        return false;
    }

    return error_set(err,
                     code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT
                     : code == CURLE_URL_MALFORMAT
                       || code == CURLE_UNSUPPORTED_PROTOCOL ? ERR_INVALID
                     : code == CURLE_OUT_OF_MEMORY ? ERR_INTERNAL : ERR_PEER,
                     "%s", text[0] ? text : curl_easy_strerror(code));
}

static bool
perform(struct http_exchange *x, CURLU *url, struct error *err)
{
    char                       text[CURL_ERROR_SIZE] = "";
    CURLcode                   code;
    const struct http_request  *req = x->req;

    CLEANUP(slist) slist  *headers = NULL;
    CLEANUP(slist) slist  *addresses = NULL;

    if (!build_headers(req, &headers, err)
        || !build_address(req, url, &addresses, err))
    {
        return false;
    }

    curl_easy_setopt(x->easy, CURLOPT_URL, req->url);
    curl_easy_setopt(x->easy, CURLOPT_ERRORBUFFER, text);
    curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(x->easy, CURLOPT_RESOLVE, addresses);
    set_limits(x->easy, req);
    set_tls(x->easy, &req->tls, x);
    set_method(x->easy, req);
    set_answer(x->easy, x);

    code = curl_easy_perform(x->easy);

    /* nothing of this call may be left in a handle that outlives it */
    curl_easy_setopt(x->easy, CURLOPT_ERRORBUFFER, NULL);

    return code == CURLE_OK ? collect(x, err) : fail(x, code, text, err);
}

static bool
has_credentials(const struct http_request *req)
{
    static const char  name[] = "Authorization:";

    for (const char *const *h = req->headers; h && *h; h++) {
        if (strncasecmp(*h, name, sizeof(name) - 1) == 0) {
            return true;
        }
    }

    return false;
}

static bool
check(const struct http_request *req, CURLU *url, bool *ret_tls,
    struct error *err)
{
    bool   tls;
    char  *scheme = NULL;

    if (!url || curl_url_set(url, CURLUPART_URL, req->url, 0) != CURLUE_OK) {
        return error_set(err, ERR_INVALID, "RFC 3986: not a URL");
    }

    curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
    tls = scheme && strcasecmp(scheme, "https") == 0;
    *ret_tls = tls;
    curl_free(scheme);

    if (!tls && (req->tls.pin || req->tls.uri || req->tls.cert_pem)) {
        return error_set(err, ERR_INVALID,
                         "the URL must begin with https:// as the server has "
                         "to prove who it is");
    }

    if (!tls && has_credentials(req)) {
        return error_set(err, ERR_INVALID,
                         "the URL must begin with https:// as credentials are "
                         "sent (RFC 6750 5.3)");
    }

    if (req->tls.pin
        && strspn(req->tls.pin, "0123456789abcdefABCDEF") != 64)
    {
        return error_set(err, ERR_INVALID,
                         "a pinned fingerprint is a SHA-256: 64 hex digits");
    }

    if (!req->tls.cert_pem != !req->tls.key_pem) {
        return error_set(err, ERR_INVALID,
                         "a client certificate and its key come together");
    }

    return true;
}

typedef CURLU  url_handle;

CLEANUP_FUNC(url_handle, url_handle *, curl_url_cleanup)

bool
http_send(struct http_client *client, const struct http_request *req,
    struct http_response *ret, struct error *err)
{
    char                  what[256];
    struct http_exchange  x = { .req = req, .allowed = client->allowed };

    CLEANUP(url_handle) url_handle  *url = curl_url();

    if (!check(req, url, &x.tls, err)) {
        return false;
    }

    x.easy = lane_take(client, req, err);
    if (!x.easy) {
        return false;
    }

    if (!perform(&x, url, err)) {
        http_response_free(&x.ret);
        describe(req, url, what, sizeof(what));
        return error_prefix(err, "%s", what);
    }

    *ret = x.ret;
    return true;
}

const char *
http_header(const struct http_response *response, const char *name)
{
    for (size_t i = 0; i < response->nheaders; i++) {
        if (strcasecmp(response->headers[i].name, name) == 0) {
            return response->headers[i].value;
        }
    }

    return NULL;
}

void
http_response_free(struct http_response *response)
{
    for (size_t i = 0; i < response->nheaders; i++) {
        free(response->headers[i].name);
        free(response->headers[i].value);
    }

    free(response->headers);
    free(response->chain_pem);
    OPENSSL_clear_free(response->body, response->body_len);
    memset(response, 0, sizeof(*response));
}
