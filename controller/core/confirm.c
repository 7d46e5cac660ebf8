/* Finds who serves a record and shakes hands with each. */
#include "confirm.h"

#include "tls_probe.h"

#include <stdio.h>
#include <string.h>

#define CONFIRM_LISTENERS_MAX  16
#define CONFIRM_HOST_MAX       256

CLEANUP_FUNC(json_ref, json_t *, json_decref)

/* "addr:port" or "[addr]:port"; false for a unix socket. */
static bool
split_address(const char *text, char *host, size_t size, int *port)
{
    const char  *colon = strrchr(text, ':');
    size_t       len = colon ? (size_t) (colon - text) : 0;

    if (colon == NULL || strncmp(text, "unix:", 5) == 0 || len >= size) {
        return false;
    }

    if (len > 1 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }

    snprintf(host, size, "%.*s", (int) len, text);
    *port = (int) strtol(colon + 1, NULL, 10);

    return *port > 0;
}

static bool
is_any_address(const char *host)
{
    static const char *const  any[] = { "", "*", "0.0.0.0", "::" };

    for (size_t i = 0; i < sizeof(any) / sizeof(any[0]); i++) {
        if (strcmp(any[i], host) == 0) {
            return true;
        }
    }

    return false;
}

/* Where a listener is met: at the agent's probe address, if it has one; at the
 * agent's own address, if it listens on every address. */
static void
confirm_host(const struct agent_row *agent, char *host, size_t size, int *port)
{
    char         url_host[CONFIRM_HOST_MAX];
    const char  *from = agent->link.url + strlen("https://");
    int          url_port;

    if (*agent->probe_address) {
        (void) split_address(agent->probe_address, host, size, port);

    } else if (is_any_address(host)) {
        snprintf(host, size, "%s", split_address(from, url_host, sizeof(url_host), &url_port)
                                   ? url_host : from);
    }
}

/* A name the certificate is for: below a wildcard any label will do. */
static void
confirm_sni(const char *name, char *sni, size_t size)
{
    if (strncmp(name, "*.", 2) == 0) {
        snprintf(sni, size, "certctl-probe%s", name + 1);
    } else {
        snprintf(sni, size, "%s", name);
    }
}

/* What one handshake shows: ERR_PEER when it is another certificate. */
static bool
confirm_one(const struct agent_row *agent, const char *host, int port,
    const char *name, const char *fingerprint, bool want_staple,
    struct confirm_result *ret, struct error *err)
{
    CLEANUP(tls_probe) struct tls_probe  seen = { 0 };
    char                                 sni[CONFIRM_HOST_MAX];
    struct tls_probe_request             req = {
        .host = host, .port = port, .sni = sni, .staple = true, .reach = HTTP_PRIVATE,
    };

    confirm_sni(name, sni, sizeof(sni));

    /* An address is never sent as a server name (RFC 6066 3). */
    if (strchr(sni, ':') || strspn(sni, "0123456789.") == strlen(sni)) {
        req.sni = NULL;
    }

    if (!tls_probe(agent->link.http, &req, &seen, err)) {
        return error_prefix(err, "handshake with %s:%d for %s", host, port, sni);
    }

    if (strcmp(seen.fingerprint, fingerprint) != 0) {
        return error_set(err, ERR_PEER, "%s:%d shows certificate %.16s... for %s, not the "
                         "deployed %.16s...", host, port, seen.fingerprint, sni, fingerprint);
    }

    if (want_staple && seen.staple == NULL) {
        return error_set(err, ERR_PEER, "%s:%d shows the new certificate for %s, but "
                         "without the staple that was pushed", host, port, sni);
    }

    ret->ms = ret->listeners ? ret->ms : seen.ms;
    ret->listeners++;
    ret->stapled += seen.staple != NULL;

    return true;
}

/* A name for which the module says this certificate is chosen, else fallback. */
static const char *
served_name(const json_t *entry, const char *fallback)
{
    json_t      *served;
    const char  *name;
    size_t       i;

    json_array_foreach(json_object_get(entry, "served_names"), i, served) {
        name = json_string_value(served);

        if (name && strpbrk(name, "~^") == NULL && strchr(name, '.') > name) {
            return name;
        }
    }

    return fallback;
}

static bool
confirm_server(const struct agent_row *agent, const json_t *entry,
    const char *name, const char *fingerprint, bool want_staple,
    struct confirm_result *ret, struct error *err)
{
    const json_t  *server = json_object_get(entry, "server");
    json_t        *listen;
    size_t         i;
    char           host[CONFIRM_HOST_MAX];
    int            port;

    json_array_foreach(json_object_get(server, "listen"), i, listen) {

        if (ret->listeners == CONFIRM_LISTENERS_MAX
            || !split_address(json_string_value(listen), host, sizeof(host), &port))
        {
            continue;
        }

        confirm_host(agent, host, sizeof(host), &port);

        if (!confirm_one(agent, host, port, served_name(entry, name), fingerprint,
                         want_staple, ret, err))
        {
            return false;
        }
    }

    return true;
}

/* A server block has this record in mind, but something else is live there. */
static bool
confirm_other(const json_t *entry, const char *record, struct error *err)
{
    const json_t  *server = json_object_get(entry, "server");
    const char    *file = json_string_value(json_object_get(server, "file"));
    const char    *why = json_string_value(json_object_get(entry, "why"));

    return error_set(err, ERR_PEER, "%s is stored, but %s:%d serves another certificate: %s",
                     record, file ? file : "a server",
                     (int) json_integer_value(json_object_get(server, "line")),
                     why ? why : "no reason given");
}

/* Each listener of a page that was not asked before; asked keeps count. */
static bool
confirm_listeners(const struct agent_row *agent, const json_t *entries,
    const char *name, const char *fingerprint, bool want_staple, json_t *asked,
    struct confirm_result *ret, struct error *other)
{
    const json_t  *server;
    json_t        *entry, *listen;
    const char    *text;
    size_t         i, j;
    char           host[CONFIRM_HOST_MAX];
    int            port;

    json_array_foreach(entries, i, entry) {
        server = json_object_get(entry, "server");

        json_array_foreach(json_object_get(server, "listen"), j, listen) {
            text = json_string_value(listen);

            if (json_object_size(asked) == CONFIRM_LISTENERS_MAX) {
                return false;
            }

            if (json_is_true(json_object_get(server, "agent"))
                || text == NULL || json_object_get(asked, text)
                || !split_address(text, host, sizeof(host), &port))
            {
                continue;
            }

            json_object_set_new(asked, text, json_true());
            confirm_host(agent, host, sizeof(host), &port);
            (void) confirm_one(agent, host, port, name, fingerprint, want_staple, ret,
                               other);
        }
    }

    return true;
}

/*
 * Server blocks whose names are patterns, or that serve what no other does,
 * cannot be told from the report: every listener is asked for the name, and one
 * that shows the certificate is enough.
 */
static bool
confirm_anywhere(struct work *w, const struct target *target,
    const struct agent_row *agent, const char *record, const char *name,
    const char *fingerprint, bool want_staple, struct confirm_result *ret,
    struct error *err)
{
    CLEANUP(json_ref) json_t                *asked = json_object();
    CLEANUP(mem) char                       *after = NULL;
    CLEANUP(target_page) struct target_page  page = { 0 };
    struct error                             other = { 0 };
    bool                                     more = true;

    while (more) {
        target_page_cleanup(&page);

        if (!work_alive(w, err)
            || !target->report(&agent->link, &(struct target_ask) { .full = true,
                               .after = after }, &page, err))
        {
            return false;
        }

        more = confirm_listeners(agent, json_object_get(page.report, "certificates"),
                                 name, fingerprint, want_staple, asked, ret, &other)
               && page.next;

        free(after);
        after = more ? strdup(page.next) : NULL;
        more = after != NULL;
    }

    return ret->listeners > 0
           || error_set(err, ERR_PEER, "%s is stored, but no server block serves it (%s): "
                        "it needs \"certctl on\", a server_name that it covers, and no newer "
                        "certificate of the server's own", record,
                        other.code ? other.detail : "none listens");
}

/* The server blocks that a page says serve record. */
static bool
confirm_page(struct work *w, const struct agent_row *agent, const json_t *entries,
    const char *record, const char *name, const char *fingerprint,
    bool want_staple, struct confirm_result *ret, struct error *err)
{
    json_t      *entry;
    const char  *seen, *stored;
    size_t       i;

    json_array_foreach(entries, i, entry) {
        seen = json_string_value(json_object_get(entry, "fingerprint"));
        stored = json_string_value(json_object_get(entry, "name"));

        if (seen == NULL || stored == NULL || strcmp(stored, record) != 0) {
            continue;
        }

        if (strcmp(seen, fingerprint) != 0) {
            return confirm_other(entry, record, err);
        }

        if (!work_alive(w, err)
            || !confirm_server(agent, entry, name, fingerprint, want_staple, ret, err))
        {
            return false;
        }
    }

    return true;
}

bool
confirm_live(struct work *w, const struct target *target,
    const struct agent_row *agent, const char *record, const char *name,
    const char *fingerprint, const char *probe, bool want_staple,
    struct confirm_result *ret, struct error *err)
{
    CLEANUP(target_page) struct target_page  page = { 0 };
    char                                     host[CONFIRM_HOST_MAX];
    int                                      port;

    *ret = (struct confirm_result) { 0 };

    if (probe && split_address(probe, host, sizeof(host), &port)) {
        return confirm_one(agent, host, port, name, fingerprint, want_staple, ret, err);
    }

    /* one page has more server blocks than are looked at */

    if (!target->report(&agent->link, &(struct target_ask) { .full = true,
                        .name = record }, &page, err)
        || !confirm_page(w, agent, json_object_get(page.report, "certificates"), record,
                         name, fingerprint, want_staple, ret, err))
    {
        return false;
    }

    return ret->listeners > 0
           || confirm_anywhere(w, target, agent, record, name, fingerprint, want_staple,
                               ret, err);
}
