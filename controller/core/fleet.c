/* Issues what the controller and its modules know each other by. */
#include "fleet.h"

#include "ca.h"
#include "fleet_make.h"
#include "sql_trust.h"
#include "wire.h"
#include "x509_chain.h"
#include "x509_key.h"

#include <stdio.h>
#include <string.h>

#define FLEET_DAY         86400
#define FLEET_CA_LIFE     (20 * 365 * FLEET_DAY)
#define FLEET_SERVER_LIFE (30 * FLEET_DAY)
#define FLEET_CLIENT_LIFE (2 * FLEET_DAY)
#define FLEET_AGENT_LIFE  (180 * FLEET_DAY)
#define FLEET_BACKDATE    300        /* for peers whose clock is slow */

#define FLEET_FIRST       "fleet"    /* the id of the first one */

enum { ID, CERTIFICATE, KEY };

/* Its key is bound to its id. */
static void
fleet_context(const char *id, char *out, size_t size)
{
    snprintf(out, size, "authorities.key.%s", id);
}

/* which: an id, or the state of one. */
static struct ca *
fleet_load(const struct core *c, const char *which, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    CLEANUP(secret) char        *key = NULL;
    char                         context[160];

    row = DB_EXEC(c->db, err, SQL_AUTHORITY_GET, which);
    if (row == NULL) {
        return NULL;
    }

    if (PQntuples(row) == 0) {
        error_set(err, ERR_NOT_FOUND, "there is no fleet CA %s", which);
        return NULL;
    }

    fleet_context(PQgetvalue(row, 0, ID), context, sizeof(context));
    key = unseal_text(c->seal, context, PQgetvalue(row, 0, KEY), err);

    return key ? ca_load(PQgetvalue(row, 0, CERTIFICATE), key, time(NULL), err) : NULL;
}

/* Two replicas may both make one: the row that is there first counts. */
bool
fleet_make(const struct core *c, const char *id, const char *name,
    const char *state, const char *overlap_days, struct error *err)
{
    struct ca_spec         spec = {
        .common_name = name,
        .not_before = time(NULL) - FLEET_BACKDATE,
        .not_after = time(NULL) + FLEET_CA_LIFE,
        .path_len = 0,
    };
    CLEANUP(ca) struct ca  *ca = ca_create(NULL, &spec, err);
    CLEANUP(mem) char      *cert = NULL, *sealed = NULL;
    CLEANUP(secret) char   *key = NULL;
    char                    until[24], context[160];

    fleet_context(id, context, sizeof(context));

    if (ca == NULL
        || (cert = ca_cert_pem(ca, err)) == NULL
        || (key = ca_key_pem(ca, err)) == NULL
        || (sealed = seal_text(c->seal, context, key, err)) == NULL)
    {
        return false;
    }

    snprintf(until, sizeof(until), "%lld", (long long) spec.not_after);

    return DB_RUN(c->db, err, SQL_AUTHORITY_ADD, id, state, cert, sealed, until,
                  overlap_days);
}

bool
fleet_ensure(const struct core *c, struct error *err)
{
    CLEANUP(ca) struct ca  *ca = fleet_load(c, "current", err);

    if (ca == NULL && err->code == ERR_NOT_FOUND) {
        *err = (struct error) { 0 };

        return fleet_make(c, FLEET_FIRST, "certctl fleet CA", "current", NULL, err)
               && (ca = fleet_load(c, "current", err)) != NULL;
    }

    return ca != NULL;
}

char *
fleet_ca_pem(const struct core *c, struct error *err)
{
    return DB_VALUE(c->db, err, SQL_AUTHORITY_TRUSTED);
}

/* A new key and its certificate with chain. */
static bool
fleet_issue(const struct ca *ca, const char *sans, int eku, int life,
    char **cert_pem, char **key_pem, struct error *err)
{
    char                serial[CA_SERIAL_HEX];
    struct ca_profile   profile = {
        .serial = serial, .sans = sans, .eku = eku,
        .not_before = time(NULL) - FLEET_BACKDATE, .not_after = time(NULL) + life,
    };
    EVP_PKEY           *key = certctl_key_generate("ec-p256");
    X509               *cert = NULL;
    bool                ok = false;

    if (key == NULL) {
        return error_set(err, ERR_INTERNAL, "no key could be made");
    }

    if (ca_serial_new(serial, err) && (cert = ca_issue(ca, key, &profile, err))) {
        *cert_pem = ca_chain_pem(ca, cert, err);
        *key_pem = *cert_pem ? ca_pkey_pem(key, err) : NULL;
        ok = *key_pem != NULL;
        if (!ok) {
            free(TAKE(*cert_pem));
        }
    }

    X509_free(cert);
    EVP_PKEY_free(key);

    return ok;
}

static void
identity_free(struct fleet_identity *identity)
{
    free(identity->authority);
    free(identity->cert_pem);
    seal_wipe(identity->key_pem);
    *identity = (struct fleet_identity) { 0 };
}

/* A clock that was set back makes none older. */
static bool
identity_fresh(const struct fleet_identity *identity, const char *authority)
{
    return identity->authority && strcmp(identity->authority, authority) == 0
           && identity->renew_at > time(NULL)
           && identity->renew_at <= time(NULL) + FLEET_CLIENT_LIFE;
}

static bool
identity_make(const struct core *c, struct fleet_identity *identity,
    const char *authority, struct error *err)
{
    CLEANUP(ca) struct ca  *ca = fleet_load(c, authority, err);
    struct fleet_identity   made = {
        .renew_at = time(NULL) + FLEET_CLIENT_LIFE / 2, .authority = strdup(authority),
    };

    if (ca == NULL
        || !fleet_issue(ca, "URI:" CERTCTL_URN_CONTROLLER, CA_EKU_CLIENT_AUTH,
                        FLEET_CLIENT_LIFE, &made.cert_pem, &made.key_pem, err))
    {
        identity_free(&made);
        return false;
    }

    identity_free(identity);
    *identity = made;

    return made.authority != NULL || error_set(err, ERR_INTERNAL, "out of memory");
}

/* Its place; with all taken, that of the one which ends first. */
static struct fleet_identity *
identity_place(struct fleet *fleet, const char *authority)
{
    struct fleet_identity  *place = &fleet->of[0];

    for (int i = 0; i < FLEET_IDENTITIES; i++) {
        if (fleet->of[i].authority && strcmp(fleet->of[i].authority, authority) == 0) {
            return &fleet->of[i];
        }

        if (fleet->of[i].renew_at < place->renew_at) {
            place = &fleet->of[i];
        }
    }

    return place;
}

static bool
fleet_read(const struct core *c, struct fleet *fleet, const char *cas,
    struct error *err)
{
    if (fleet->cas && strcmp(fleet->cas, cas) == 0) {
        return true;
    }

    free(TAKE(fleet->cas));
    free(TAKE(fleet->ca_pem));
    fleet->ca_pem = fleet_ca_pem(c, err);

    if (fleet->ca_pem == NULL) {
        return false;
    }

    fleet->cas = strdup(cas);

    return fleet->cas != NULL || error_set(err, ERR_INTERNAL, "out of memory");
}

const struct fleet_identity *
fleet_identity(const struct core *c, struct fleet *fleet, const char *cas,
    const char *authority, struct error *err)
{
    struct fleet_identity  *identity = identity_place(fleet, authority);

    return fleet_read(c, fleet, cas, err)
           && (identity_fresh(identity, authority)
               || identity_make(c, identity, authority, err))
           ? identity : NULL;
}

void
fleet_free(struct fleet *fleet)
{
    for (int i = 0; i < FLEET_IDENTITIES; i++) {
        identity_free(&fleet->of[i]);
    }

    free(fleet->ca_pem);
    free(fleet->cas);
    *fleet = (struct fleet) { 0 };
}

/* "a,192.0.2.1" -> "DNS:a,IP:192.0.2.1" */
static bool
fleet_sans(const char *names, char *out, size_t size, struct error *err)
{
    size_t  n = 0, len;
    bool    ip;

    for (; *names; names += len + (names[len] == ',')) {
        len = strcspn(names, ",");
        ip = memchr(names, ':', len) || strspn(names, "0123456789.") >= len;
        n += snprintf(out + n, n < size ? size - n : 0, "%s%s%.*s", n ? "," : "",
                      ip ? "IP:" : "DNS:", (int) len, names);
        if (n >= size) {
            return error_set(err, ERR_INVALID, "api_names is too long");
        }
    }

    return true;
}

bool
fleet_server(const struct core *c, const char *names, char **cert_pem,
    char **key_pem, time_t *renew_at, struct error *err)
{
    CLEANUP(ca) struct ca  *ca = NULL;
    CLEANUP(mem) char      *id = NULL;
    char                    sans[2048];

    if (!fleet_sans(names, sans, sizeof(sans), err)
        || (id = DB_VALUE(c->db, err, SQL_AUTHORITY_API)) == NULL
        || (ca = fleet_load(c, id, err)) == NULL
        || !fleet_issue(ca, sans, CA_EKU_SERVER_AUTH, FLEET_SERVER_LIFE,
                        cert_pem, key_pem, err))
    {
        return false;
    }

    *renew_at = time(NULL) + FLEET_SERVER_LIFE * 2 / 3;

    return true;
}

char *
fleet_sign_agent(const struct core *c, const char *authority,
    const char *csr_pem, const char *sans, time_t *not_after, struct error *err)
{
    CLEANUP(ca) struct ca  *ca = NULL;
    char                    serial[CA_SERIAL_HEX];
    const char             *why = NULL;
    char                   *chain = NULL;
    struct ca_profile       profile = {
        .serial = serial, .sans = sans,
        .eku = CA_EKU_SERVER_AUTH | CA_EKU_CLIENT_AUTH,
        .not_before = time(NULL) - FLEET_BACKDATE,
        .not_after = time(NULL) + FLEET_AGENT_LIFE,
    };
    X509_REQ               *req;
    X509                   *cert;

    req = certctl_csr_from_pem(csr_pem, strlen(csr_pem), &why);

    if (req == NULL) {
        error_set(err, ERR_PEER, "the module's identity request: %s", why);
        return NULL;
    }

    if (ca_serial_new(serial, err) && (ca = fleet_load(c, authority, err)) != NULL
        && (cert = ca_issue(ca, X509_REQ_get0_pubkey(req), &profile, err)) != NULL)
    {
        chain = ca_chain_pem(ca, cert, err);
        X509_free(cert);
    }

    X509_REQ_free(req);

    if (chain) {
        *not_after = profile.not_after;
    }

    return chain;
}
