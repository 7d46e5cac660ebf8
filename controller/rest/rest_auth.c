/*
 * API keys are looked up by their hash and remembered for two seconds in each
 * thread, so that a revoked key ends everywhere within that time.
 */
#include "rest_auth.h"
#include "api_key.h"
#include "sql_api_key.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define AUTH_SLOTS     256
#define AUTH_SECONDS   2
#define PEER_SLOTS     1024

/*
 * Failures of one peer: so many at once, then one in so many seconds.  Beyond
 * that unknown keys are looked up this often in a second: somebody else behind
 * the same address may have a good one.
 */
#define PEER_BURST     20
#define PEER_SECONDS   3
#define PEER_LOOKUPS   20

struct identity {
    char      hash[65];             /* "" for nobody */
    char      id[101];
    char      name[201];
    json_t   *permissions;          /* array of strings */
    time_t    until;                /* monotonic */
};

struct peer {
    char      address[48];
    int       tokens;
    time_t    since;                /* monotonic, of tokens */
    int       lookups;              /* in second */
    time_t    second;
};

struct auth {
    struct identity  identities[AUTH_SLOTS];
    struct peer      peers[PEER_SLOTS];
    struct identity  anonymous;
};

static time_t
monotonic(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);

    return now.tv_sec;
}

struct auth *
auth_new(void)
{
    struct auth  *auth = calloc(1, sizeof(*auth));

    if (auth && (auth->anonymous.permissions = json_pack("[s]", "*")) == NULL) {
        free(auth);
        return NULL;
    }

    return auth;
}

void
auth_free(struct auth *auth)
{
    if (auth == NULL) {
        return;
    }

    for (size_t i = 0; i < AUTH_SLOTS; i++) {
        json_decref(auth->identities[i].permissions);
    }

    json_decref(auth->anonymous.permissions);
    free(auth);
}

/* granted "*" holds all, "cert.*" holds "cert.read" and "cert.*". */
static bool
permission_holds(const char *granted, const char *wanted)
{
    size_t  len = strlen(granted);

    if (strcmp(granted, "*") == 0 || strcmp(granted, wanted) == 0) {
        return true;
    }

    return len > 2 && strcmp(granted + len - 2, ".*") == 0
           && strncmp(granted, wanted, len - 1) == 0;
}

bool
auth_may(const struct request *r, const char *permission)
{
    json_t  *granted;
    size_t   i;

    json_array_foreach(r->identity->permissions, i, granted) {
        if (permission_holds(json_string_value(granted), permission)) {
            return true;
        }
    }

    return false;
}

json_t *
auth_permissions(const struct request *r)
{
    return json_incref(r->identity->permissions);
}

const char *
auth_key_id(const struct request *r)
{
    return r->identity->id;
}

/* A peer is an IPv4 address or an IPv6 /64: who has one of those has them all. */
static struct peer *
peer_find(struct auth *auth, const char *address)
{
    struct peer  *peer;
    char          key[sizeof(peer->address)];
    unsigned      hash = 5381;
    size_t        n = 0;
    int           groups = 0;

    for ( ; address[n] && n < sizeof(key) - 1; n++) {
        if (address[n] == ':' && ++groups == 4) {
            break;
        }
        key[n] = address[n];
        hash = hash * 33 + (unsigned char) address[n];
    }

    key[n] = '\0';
    peer = &auth->peers[hash % PEER_SLOTS];

    if (strcmp(peer->address, key) != 0) {
        memcpy(peer->address, key, n + 1);
        peer->tokens = PEER_BURST;
        peer->since = monotonic();
    }

    return peer;
}

static void
peer_refill(struct peer *peer)
{
    time_t  now = monotonic(), earned = (now - peer->since) / PEER_SECONDS;

    if (earned > 0) {
        peer->tokens = peer->tokens + earned > PEER_BURST
                       ? PEER_BURST : peer->tokens + (int) earned;
        peer->since = peer->tokens == PEER_BURST
                      ? now : peer->since + earned * PEER_SECONDS;
    }
}

static bool
peer_may_ask(struct peer *peer)
{
    time_t  now = monotonic();

    if (peer->second != now) {
        peer->second = now;
        peer->lookups = 0;
    }

    return peer->tokens > 0 || peer->lookups++ < PEER_LOOKUPS;
}

static bool
peer_throttled(struct request *r)
{
    error_set(&r->err, ERR_THROTTLED, "too many wrong API keys from this address");
    r->err.retry_after = PEER_SECONDS;

    return false;
}

/* "{a,b}" of PostgreSQL, whose elements need no quotes: the format of a
 * permission has no character that would. */
static json_t *
permissions_parse(const char *text)
{
    json_t  *list = json_array();
    size_t   n;

    for (text++; *text && *text != '}'; text += n + (text[n] == ',')) {
        n = strcspn(text, ",}");
        json_array_append_new(list, json_stringn(text, n));
    }

    return list;
}

static bool
identity_load(struct request *r, struct identity *identity, const char *hash)
{
    CLEANUP(pgresult) PGresult  *rows = NULL;
    struct error                 ignored = { 0 };

    rows = DB_EXEC(r->db, &r->err, SQL_API_KEY_FIND, hash);
    if (rows == NULL) {
        return false;
    }

    if (PQntuples(rows) == 0
        || PQgetlength(rows, 0, 4) != 64
        || CRYPTO_memcmp(PQgetvalue(rows, 0, 4), hash, 64) != 0)
    {
        return error_set(&r->err, ERR_UNAUTHORIZED, "the API key is not valid");
    }

    json_decref(identity->permissions);
    identity->permissions = permissions_parse(PQgetvalue(rows, 0, 2));
    snprintf(identity->hash, sizeof(identity->hash), "%s", hash);
    snprintf(identity->id, sizeof(identity->id), "%s", PQgetvalue(rows, 0, 0));
    snprintf(identity->name, sizeof(identity->name), "%s", PQgetvalue(rows, 0, 1));
    identity->until = monotonic() + AUTH_SECONDS;

    /* When it was used is worth an attempt, not a failed request. */
    if (PQgetvalue(rows, 0, 3)[0] == 't') {
        DB_RUN(r->db, &ignored, SQL_API_KEY_USED, identity->id);
    }

    return true;
}

/* A guess costs a token; what was good a moment ago is always looked up. */
static bool
identity_find(struct auth *auth, struct request *r, const char *token,
    const char *address, const struct identity **ret)
{
    struct identity  *identity;
    struct peer      *peer;
    char              hash[65];
    bool              known;

    api_key_hash(token, hash);

    identity = &auth->identities[(hash[0] * 31 + hash[1] * 7 + hash[2]) % AUTH_SLOTS];
    known = CRYPTO_memcmp(identity->hash, hash, 64) == 0;
    *ret = identity;

    if (known && monotonic() < identity->until) {
        return true;
    }

    peer = peer_find(auth, address);
    peer_refill(peer);

    if (!known && !peer_may_ask(peer)) {
        return peer_throttled(r);
    }

    if (identity_load(r, identity, hash)) {
        return true;
    }

    if (r->err.code != ERR_UNAUTHORIZED) {
        return false;
    }

    if (known) {
        identity->hash[0] = '\0';
    }

    if (peer->tokens == 0) {
        return peer_throttled(r);
    }

    peer->tokens--;

    return false;
}

static bool
auth_bearer(struct auth *auth, struct request *r, const char *header,
    const char *peer)
{
    if (strncasecmp(header, "Bearer ", 7) != 0) {
        return error_set(&r->err, ERR_UNAUTHORIZED,
                         "RFC 6750 2.1: send \"Authorization: Bearer <key>\"");
    }

    header += 7 + strspn(header + 7, " ");

    if (!identity_find(auth, r, header, peer, &r->identity)) {
        return false;
    }

    r->actor = r->identity->name;
    r->actor_type = "APIKey";

    return true;
}

static bool
auth_who(struct auth *auth, struct request *r, const char *peer)
{
    const char  *header = rest_request_header(r, "Authorization");

    r->identity = &auth->anonymous;
    r->actor = "anonymous";
    r->actor_type = "Anonymous";

    if ((header == NULL && r->open) || (r->route->flags & ROUTE_PUBLIC)) {
        return true;
    }

    return header ? auth_bearer(auth, r, header, peer)
           : error_set(&r->err, ERR_UNAUTHORIZED, "an API key is needed");
}

bool
auth_request(struct auth *auth, struct request *r, const char *peer)
{
    if (!auth_who(auth, r, peer)) {
        if (r->err.code == ERR_UNAUTHORIZED) {
            rest_header(r, "WWW-Authenticate", "Bearer");
        }
        return false;
    }

    if (*r->route->permission && !auth_may(r, r->route->permission)) {
        return error_set(&r->err, ERR_FORBIDDEN,
                         "this API key lacks the permission %s",
                         r->route->permission);
    }

    return true;
}
