/* Issues what the controller and its modules know each other by. */
#include "fleet.h"

#include "ca.h"
#include "sql_core.h"
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

#define FLEET_NAME        "fleet"
#define FLEET_SEAL        "authorities.key.fleet"

static struct ca *
fleet_load(const struct core *c, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    CLEANUP(secret) char        *key = NULL;

    row = DB_EXEC(c->db, err, SQL_AUTHORITY_GET, FLEET_NAME);
    if (row == NULL) {
        return NULL;
    }

    if (PQntuples(row) == 0) {
        error_set(err, ERR_NOT_FOUND, "there is no fleet CA");
        return NULL;
    }

    key = unseal_text(c->seal, FLEET_SEAL, PQgetvalue(row, 0, 1), err);

    return key ? ca_load(PQgetvalue(row, 0, 0), key, time(NULL), err) : NULL;
}

/* Two replicas may both make one: the row that is there first counts. */
static bool
fleet_make(const struct core *c, struct error *err)
{
    struct ca_spec         spec = {
        .common_name = "certctl fleet CA",
        .not_before = time(NULL) - FLEET_BACKDATE,
        .not_after = time(NULL) + FLEET_CA_LIFE,
        .path_len = 0,
    };
    CLEANUP(ca) struct ca  *ca = ca_create(NULL, &spec, err);
    CLEANUP(mem) char      *cert = NULL, *sealed = NULL;
    CLEANUP(secret) char   *key = NULL;
    char                    until[24];

    if (ca == NULL
        || (cert = ca_cert_pem(ca, err)) == NULL
        || (key = ca_key_pem(ca, err)) == NULL
        || (sealed = seal_text(c->seal, FLEET_SEAL, key, err)) == NULL)
    {
        return false;
    }

    snprintf(until, sizeof(until), "%lld", (long long) spec.not_after);

    return DB_RUN(c->db, err, SQL_AUTHORITY_ADD, FLEET_NAME, cert, sealed, until);
}

bool
fleet_ensure(const struct core *c, struct error *err)
{
    CLEANUP(ca) struct ca  *ca = fleet_load(c, err);

    if (ca == NULL && err->code == ERR_NOT_FOUND) {
        *err = (struct error) { 0 };

        return fleet_make(c, err) && (ca = fleet_load(c, err)) != NULL;
    }

    return ca != NULL;
}

char *
fleet_ca_pem(const struct core *c, struct error *err)
{
    CLEANUP(ca) struct ca  *ca = fleet_load(c, err);

    return ca ? ca_cert_pem(ca, err) : NULL;
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

bool
fleet_identity(const struct core *c, struct fleet *fleet, struct error *err)
{
    CLEANUP(ca) struct ca  *ca = NULL;
    struct fleet            made = { .renew_at = time(NULL) + FLEET_CLIENT_LIFE / 2 };

    if (fleet->renew_at > time(NULL)
        && fleet->renew_at <= time(NULL) + FLEET_CLIENT_LIFE)
    {
        return true;
    }

    ca = fleet_load(c, err);

    if (ca == NULL || (made.ca_pem = ca_cert_pem(ca, err)) == NULL
        || !fleet_issue(ca, "URI:" CERTCTL_URN_CONTROLLER, CA_EKU_CLIENT_AUTH,
                        FLEET_CLIENT_LIFE, &made.cert_pem, &made.key_pem, err))
    {
        fleet_free(&made);
        return false;
    }

    fleet_free(fleet);
    *fleet = made;

    return true;
}

void
fleet_free(struct fleet *fleet)
{
    free(fleet->ca_pem);
    free(fleet->cert_pem);
    seal_wipe(fleet->key_pem);
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
    char                    sans[2048];

    if (!fleet_sans(names, sans, sizeof(sans), err)
        || (ca = fleet_load(c, err)) == NULL
        || !fleet_issue(ca, sans, CA_EKU_SERVER_AUTH, FLEET_SERVER_LIFE,
                        cert_pem, key_pem, err))
    {
        return false;
    }

    *renew_at = time(NULL) + FLEET_SERVER_LIFE * 2 / 3;

    return true;
}

char *
fleet_sign_agent(const struct core *c, const char *csr_pem, const char *sans,
    time_t *not_after, struct error *err)
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

    if (ca_serial_new(serial, err) && (ca = fleet_load(c, err)) != NULL
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
