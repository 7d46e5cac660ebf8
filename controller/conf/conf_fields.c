/* The keys of the daemon's configuration: a row of fields each. */
#include "conf.h"

#include <stdlib.h>
#include <string.h>

/* The name of a key is that of its member of struct conf. */
#define KEY(member, type)  #member, type, .offset = offsetof(struct conf, member)

#define SECONDS(most)  .min = 1, .max = (most)

/* How it is bound is known when the daemon listens. */
static bool
check_address(const char *text, struct error *err)
{
    const char  *colon = strrchr(text, ':');
    char        *end = NULL;
    long         port = colon && colon > text && colon[1] >= '0' && colon[1] <= '9'
                        ? strtol(colon + 1, &end, 10) : -1;
    bool         bare = colon && *text != '[' && strchr(text, ':') != colon;

    return *text == '\0' || (end && *end == '\0' && port <= 65535 && !bare)
           || error_set(err, ERR_INVALID, "not address:port or [address]:port");
}

static bool
check_pki_url(const char *text, struct error *err)
{
    if (*text == '\0') {
        return true;
    }

    if (strncmp(text, "http://", 7) != 0) {
        return error_set(err, ERR_INVALID, "must begin with http:// (RFC 5280 4.2.1.13): "
                         "clients do not follow https for CRL and OCSP");
    }

    for (const char *p = text + 7; *p; p++) {
        if (*p <= ' ' || *p > '~' || strchr("\"<>\\^`{|}?#", *p)) {
            return error_set(err, ERR_INVALID, "has a character that a URL has not, or a "
                             "query (RFC 3986)");
        }
    }

    return (text[7] && text[7] != '/' && text[strlen(text) - 1] != '/')
           || error_set(err, ERR_INVALID, "must be http://host[:port], without a slash at "
                        "its end");
}

static bool
check_networks(const char *text, struct error *err)
{
    struct networks  networks = { 0 };

    return networks_parse(text, &networks, err);
}

const struct field  conf_fields[] = {
    { KEY(data_dir, T_TEXT), .flags = F_REQUIRED, .min = 1, .max = 400,
      .help = "directory for the files of the daemon, created if missing; with the private "
              "PostgreSQL at most 75 characters" },
    { KEY(listen, T_TEXT), .min = 3, .max = 200, .init = "\"127.0.0.1:8443\"", .check = check_address,
      .help = "where the REST API listens (TLS 1.3): address:port or [address]:port" },
    { KEY(pki_listen, T_TEXT), .max = 200, .init = "\"127.0.0.1:8480\"", .check = check_address,
      .help = "where CRL and OCSP are answered over plain HTTP: address:port, or empty for none" },
    { KEY(pki_url, T_TEXT), .max = 200, .init = "\"\"", .check = check_pki_url,
      .help = "URL of pki_listen for relying parties, http://host[:port]; empty: http:// and "
              "pki_listen; stands in issued certificates, read when the local CA is created, at "
              "the first start" },
    { KEY(database, T_TEXT), .flags = F_SECRET, .max = 1000, .init = "\"\"",
      .help = "PostgreSQL database of the controller: postgres://... or a libpq string; empty: a "
              "private PostgreSQL in data_dir" },
    { KEY(demo, T_BOOL), .init = "false", .help = "load demo data; no API key is needed on loopback" },
    { KEY(api_threads, T_INT), .min = 1, .max = 64, .init = "2",
      .help = "threads that answer API requests; each has one database connection" },
    { KEY(job_threads, T_INT), .min = 1, .max = 64, .init = "4",
      .help = "threads that run jobs; each has one database connection" },
    { KEY(inventory_interval, T_INT), SECONDS(86400), .init = "60", .help = "seconds between two polls of each agent" },
    { KEY(loop_tick, T_INT), SECONDS(3600), .init = "1",
      .help = "seconds between two checks for agents that are due for a poll" },
    { KEY(renewal_interval, T_INT), SECONDS(86400), .init = "30",
      .help = "seconds between two checks for certificates that are due for renewal" },
    { KEY(expiry_interval, T_INT), SECONDS(86400), .init = "300",
      .help = "seconds between two updates of the expiry status" },
    { KEY(ocsp_interval, T_INT), SECONDS(86400), .init = "30",
      .help = "seconds between two checks for staples past half of their lifetime" },
    { KEY(reaper_interval, T_INT), SECONDS(3600), .init = "10",
      .help = "seconds between two checks for jobs whose lease has expired" },
    { KEY(job_lease, T_INT), .min = 3, .max = 3600, .init = "60",
      .help = "seconds until a job whose worker gives no sign of life can be claimed again" },
    { KEY(max_issuances_per_day, T_INT), .min = 1, .max = 10000, .init = "3",
      .help = "issuances of one certificate within 24 hours, and more of one that lives "
              "less than 2 days; the next one is refused" },
    { KEY(outgoing_networks, T_TEXT), .max = 1500, .init = "\"\"", .check = check_networks,
      .help = "networks that outgoing calls may lead to in addition to public and private "
              "addresses: CIDR notation, comma-separated, at most 32" },
    { KEY(ocsp_private_addresses, T_BOOL), .init = "false", .help = "allow OCSP responders at loopback and private addresses" },
    { KEY(api_names, T_TEXT), .min = 1, .max = 1000, .init = "\"localhost,127.0.0.1,::1\"",
      .help = "names and addresses in the certificate of the API, comma-separated" },
    { KEY(log_level, T_TEXT), .allowed = "error warn notice info debug", .init = "\"info\"",
      .help = "least severe level that is logged on standard error" },
    { 0 }
};
