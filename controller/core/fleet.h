/*
 * The fleet CA: who may command modules, and by what the modules are known.
 * One key for all replicas, sealed in the database.
 */
#pragma once
#include "core.h"
#include <time.h>

/* The controller's certificate towards modules, made anew by each thread and
 * kept in memory only. */
struct fleet {
    char    *ca_pem;         /* what a module or API client trusts */
    char    *cert_pem;       /* URI SAN urn:certctl:controller, with chain */
    char    *key_pem;        /* PKCS#8, a secret */
    time_t   renew_at;
};

/* Makes the fleet CA on the first start of the first replica. */
bool fleet_ensure(const struct core *c, struct error *err);

/* The fleet CA's certificate; free() it. */
char *fleet_ca_pem(const struct core *c, struct error *err);

/* Fills fleet when it is empty or past renew_at. */
bool fleet_identity(const struct core *c, struct fleet *fleet, struct error *err);
void fleet_free(struct fleet *fleet);

/*
 * The API's own server certificate for comma-separated names and addresses,
 * with its key: both to be freed, the key with seal_wipe().  *renew_at is when
 * to make the next.
 */
bool fleet_server(const struct core *c, const char *names, char **cert_pem,
    char **key_pem, time_t *renew_at, struct error *err);

/*
 * A certificate for an agent's identity key: CSR from the module, which must
 * ask for sans; free() the chain.
 */
char *fleet_sign_agent(const struct core *c, const char *csr_pem,
    const char *sans, time_t *not_after, struct error *err);
