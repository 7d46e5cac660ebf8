/*
 * The fleet CA: who may command modules, and by what the modules are known.
 * Its key is sealed in the database, for all replicas.  While it is replaced two
 * are trusted: see docs/design/04-identities.md.
 */
#pragma once
#include "core.h"
#include <time.h>

#define FLEET_IDENTITIES  4

/* The controller's certificate towards the modules that trust an authority. */
struct fleet_identity {
    char    *authority;      /* its id */
    char    *cert_pem;       /* URI SAN urn:certctl:controller, with chain */
    char    *key_pem;        /* PKCS#8, a secret */
    time_t   renew_at;
};

/* What a thread keeps in its memory, and only there. */
struct fleet {
    char                   *cas;     /* fingerprints of ca_pem, as JSON */
    char                   *ca_pem;  /* what a module or API client trusts */
    struct fleet_identity   of[FLEET_IDENTITIES];
};

/* Makes the fleet CA on the first start of the first replica. */
bool fleet_ensure(const struct core *c, struct error *err);

/* The certificates of the CAs that are trusted; free() it. */
char *fleet_ca_pem(const struct core *c, struct error *err);

/* Reads ca_pem where fleet has another cas, and gives the identity by authority,
 * which stays fleet's; NULL with the error. */
const struct fleet_identity *fleet_identity(const struct core *c,
    struct fleet *fleet, const char *cas, const char *authority,
    struct error *err);
void fleet_free(struct fleet *fleet);

/*
 * The API's own server certificate for comma-separated names and addresses,
 * with its key: both to be freed, the key with seal_wipe().  *renew_at is when
 * to make the next.
 */
bool fleet_server(const struct core *c, const char *names, char **cert_pem,
    char **key_pem, time_t *renew_at, struct error *err);

/*
 * A certificate of this authority for an agent's identity key: CSR from the
 * module, which must ask for sans; free() the chain.
 */
char *fleet_sign_agent(const struct core *c, const char *authority,
    const char *csr_pem, const char *sans, time_t *not_after, struct error *err);

/*
 * fleet_rotate.c: the replacement of the fleet CA, step by step.  Each is one
 * transaction of the caller; what interrupts them is gone on with.
 */

/* The next CA, which hosts learn from now on; *id is to be freed.  overlap_days:
 * how long hosts and API clients have for each of the two steps.  CONFLICT while
 * another replacement is under way. */
bool fleet_rotate(const struct core *c, const char *overlap_days, char **id,
    struct error *err);

/* The next CA is the current one, though hosts do not know it yet. */
bool fleet_use(const struct core *c, const char *id, struct error *err);

/* The next or the previous one is trusted no more.  force: though live hosts
 * depend on it. */
bool fleet_withdraw(const struct core *c, const char *id, bool force,
    struct error *err);

/* The step that is due, if any; in a transaction of its own. */
bool fleet_advance(const struct core *c, struct error *err);
