/*
 * Every command of certctl.  To add one: 1. a row here; 2. columns, if it lists
 * something; 3. a case in t/12-cli.t; docs/certctl.md prints `certctl help`.
 */
#include "cli.h"

#define PAGE                                                                  \
    { "page",     "page",     CLI_QUERY, "N" },                               \
    { "per-page", "per_page", CLI_QUERY, "N" }

static const struct cli_option  agent_add[] = {
    { "fingerprint",        "fingerprint",        CLI_BODY,      "HEX" },
    { "name",               "name",               CLI_BODY,      "NAME" },
    { "id",                 "id",                 CLI_BODY,      "ID" },
    { "probe-address",      "probe_address",      CLI_BODY,      "HOST:PORT" },
    { "trust-on-first-use", "trust_on_first_use", CLI_BODY_FLAG, NULL },
    { NULL }
};

static const struct cli_option  agent_reconnect[] = {
    { "url",    "url",    CLI_BODY, "URL" },
    { "reason", "reason", CLI_BODY, "TEXT" },
    { NULL }
};

static const struct cli_option  agent_reset[] = {
    { "fingerprint",    "fingerprint",    CLI_BODY,      "HEX" },
    { "url",            "url",            CLI_BODY,      "URL" },
    { "override-limit", "override_limit", CLI_BODY_FLAG, NULL },
    { "reason",         "reason",         CLI_BODY,      "TEXT" },
    { NULL }
};

static const struct cli_option  agent_set[] = {
    { "url",           "url",           CLI_BODY, "URL" },
    { "name",          "name",          CLI_BODY, "NAME" },
    { "fingerprint",   "fingerprint",   CLI_BODY, "HEX" },
    { "probe-address", "probe_address", CLI_BODY, "HOST:PORT" },
    { NULL }
};

static const struct cli_option  agent_remove[] = {
    { "force",  "force",  CLI_QUERY_FLAG, NULL },
    { "reason", "reason", CLI_QUERY,      "TEXT" },
    { NULL }
};

static const struct cli_option  page[] = { PAGE, { NULL } };

static const struct cli_option  cert_list[] = {
    { "status", "status",    CLI_QUERY, "STATUS" },
    { "live",   "live",      CLI_QUERY, "LIVE" },
    { "issuer", "issuer_id", CLI_QUERY, "ID" },
    { "agent",  "agent_id",  CLI_QUERY, "ID" },
    { "covered", "covered",  CLI_QUERY, "true|false" },
    PAGE, { NULL }
};

static const struct cli_option  renew[] = {
    { "force", "force", CLI_BODY_FLAG, NULL }, { NULL }
};

static const struct cli_option  job_list[] = {
    { "status", "status", CLI_QUERY, "STATUS" },
    { "type",   "type",   CLI_QUERY, "TYPE" },
    PAGE, { NULL }
};

static const struct cli_option  store[] = {
    { "store", NULL, CLI_QUERY, "DIR" }, { NULL }
};

static const struct cli_column  agents[] = {
    { "ID", "id" }, { "NAME", "name" }, { "URL", "url" }, { "STATUS", "status" },
    { "VERSION", "version" }, { "LAST SEEN", "last_heartbeat_at" }, { NULL }
};

static const struct cli_column  certs[] = {
    { "ID", "id" }, { "NAME", "name" }, { "STATUS", "status" },
    { "LIVE", "live" }, { "EXPIRES", "expires_at" }, { "ISSUER", "issuer_id" },
    { "POLICY", "renewal_policy_id" }, { NULL }
};

static const struct cli_column  jobs[] = {
    { "ID", "id" }, { "TYPE", "type" }, { "STATUS", "status" },
    { "CERTIFICATE", "certificate_id" }, { "TRIES", "attempts" },
    { "CREATED", "created_at" }, { "NEXT", "next_at" }, { "ERROR", "last_error" },
    { "WAITS FOR", "waits_for" }, { NULL }
};

static const struct cli_column  renewals[] = {
    { "ID", "id" }, { "STATUS", "status" }, { "CREATED", "created_at" },
    { "NEXT", "next_at" }, { "ENDED", "completed_at" }, { "ERROR", "error" },
    { "CA ERROR", "last_error" }, { NULL }
};

static const struct cli_column  issuers[] = {
    { "ID", "id" }, { "NAME", "name" }, { "TYPE", "type" }, { "ENABLED", "enabled" },
    { "TEST", "test_status" }, { "PAUSED UNTIL", "paused_until" },
    { "REASON", "pause_reason" }, { NULL }
};

static const struct cli_column  records[] = {
    { "NAME", "name" }, { "KEY TYPE", "key_type" }, { "NOT AFTER", "not_after" },
    { "FINGERPRINT", "fingerprint" }, { "STAPLE", "staple" }, { NULL }
};

#define ROW(...)  { __VA_ARGS__ }

const struct cli_command  cli_commands[] = {
    ROW(.words = "agents add", .argument = "URL", .field = "url",
        .method = "POST", .path = "/api/v1/agents", .options = agent_add,
        .check = cli_agent_check, .complete = cli_agent_complete, .run = cli_agent_add,
        .help = "register a host; its fingerprint is in certctl-agent.fingerprint"),
    ROW(.words = "agents list", .method = "GET", .path = "/api/v1/agents",
        .options = page, .columns = agents, .help = "hosts that run the module"),
    ROW(.words = "agents get", .argument = "ID", .method = "GET",
        .path = "/api/v1/agents/{}", .help = "one host"),
    ROW(.words = "agents reconnect", .argument = "ID", .method = "POST",
        .path = "/api/v1/agents/{}/recover", .options = agent_reconnect,
        .help = "poll a host that is back, with its store, now"),
    ROW(.words = "agents reset", .argument = "ID", .method = "POST",
        .path = "/api/v1/agents/{}/recover", .options = agent_reset,
        .check = cli_agent_reset_check, .complete = cli_agent_complete,
        .help = "register a host again whose store is lost, and renew its certificates"),
    ROW(.words = "agents set", .argument = "ID", .method = "PATCH",
        .path = "/api/v1/agents/{}", .options = agent_set, .check = cli_agent_set_check,
        .complete = cli_agent_complete,
        .help = "change a host; another URL or fingerprint is a new first contact"),
    ROW(.words = "agents remove", .argument = "ID", .method = "DELETE",
        .path = "/api/v1/agents/{}", .options = agent_remove,
        .check = cli_agent_remove_check,
        .help = "retire a host; --force retires its targets too, and shows what they served"),
    ROW(.words = "certs list", .method = "GET", .path = "/api/v1/certificates",
        .options = cert_list, .columns = certs,
        .help = "certificates that are kept alive"),
    ROW(.words = "certs get", .argument = "ID", .method = "GET",
        .path = "/api/v1/certificates/{}", .help = "one certificate"),
    ROW(.words = "certs renew", .argument = "ID", .method = "POST",
        .path = "/api/v1/certificates/{}/renew", .options = renew,
        .help = "renew it now"),
    ROW(.words = "certs renewals", .argument = "ID", .method = "GET",
        .path = "/api/v1/certificates/{}/renewals", .options = page, .columns = renewals,
        .help = "its renewal attempts; --format json has their orders at the CA"),
    ROW(.words = "issuers list", .method = "GET", .path = "/api/v1/issuers",
        .options = page, .columns = issuers, .help = "certification authorities"),
    ROW(.words = "issuers get", .argument = "ID", .method = "GET",
        .path = "/api/v1/issuers/{}", .help = "one issuer"),
    ROW(.words = "issuers test", .argument = "ID", .method = "POST",
        .path = "/api/v1/issuers/{}/test", .good = "success",
        .help = "try whether it works; exit code 1 if it does not"),
    ROW(.words = "jobs list", .method = "GET", .path = "/api/v1/jobs",
        .options = job_list, .columns = jobs, .help = "work, done and to be done"),
    ROW(.words = "jobs get", .argument = "ID", .method = "GET",
        .path = "/api/v1/jobs/{}", .help = "one job"),
    ROW(.words = "status", .run = cli_status,
        .help = "the server, its database, and how much there is of what"),
    ROW(.words = "version", .run = cli_version,
        .help = "versions of this program and of the server"),
    ROW(.words = "store list", .local = true, .options = store, .columns = records,
        .run = cli_store_list,
        .help = "records of the sealed store on this host, without NGINX"),
    ROW(.words = "store verify", .local = true, .options = store, .run = cli_store_verify,
        .help = "open every record; exit code 1 if one cannot be opened"),
    ROW(.words = "store export", .local = true, .argument = "DIR", .options = store,
        .run = cli_store_export,
        .help = "write chains and private keys as PEM, with lines for nginx.conf"),
    { NULL }
};
