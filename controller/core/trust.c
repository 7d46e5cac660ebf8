/* A host learns the next fleet CA before it is used. */
#include "trust.h"

#include "cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

static bool
trust_has(const json_t *list, const json_t *fingerprint)
{
    json_t  *one;
    size_t   i;

    json_array_foreach(list, i, one) {
        if (json_equal(one, fingerprint)) {
            return true;
        }
    }

    return false;
}

/* Whether all of some are in one list or another, which may be NULL. */
static bool
trust_within(const json_t *some, const json_t *one, const json_t *other)
{
    json_t  *fingerprint;
    size_t   i;

    json_array_foreach(some, i, fingerprint) {
        if (!trust_has(one, fingerprint) && !trust_has(other, fingerprint)) {
            return false;
        }
    }

    return true;
}

/*
 * The CA that the host is called by stays in its set until it has been called by
 * another one: whatever ends this before it is noted, the host can be called.
 */
static char *
trust_set(const struct fleet *fleet, const struct agent_row *agent,
    const json_t *cas, const json_t *file, struct error *err)
{
    CLEANUP(json_ref) json_t  *by = json_string(agent->authority.fingerprint);
    bool                       kept = trust_has(cas, by) || trust_has(file, by);
    size_t                     size = strlen(fleet->ca_pem) + strlen(agent->authority.pem) + 1;
    char                      *set = malloc(size);

    if (set == NULL) {
        error_set(err, ERR_INTERNAL, "out of memory");
        return NULL;
    }

    snprintf(set, size, "%s%s", fleet->ca_pem, kept ? "" : agent->authority.pem);

    return set;
}

bool
trust_send(const struct fleet *fleet, const struct agent_row *agent,
    json_t *status, bool *knows, struct error *err)
{
    CLEANUP(json_ref) json_t  *cas = json_loads(agent->cas, 0, NULL);
    CLEANUP(mem) char         *set = NULL;
    json_t                    *has = json_object_get(status, "trust");
    json_t                    *all = json_object_get(has, "all");
    const json_t              *file = json_object_get(has, "file");
    json_t                    *fingerprint;
    size_t                     i;

    *knows = all && trust_within(cas, all, NULL);

    if (all == NULL || (*knows && trust_within(all, cas, file))) {
        return true;
    }

    set = trust_set(fleet, agent, cas, file, err);

    if (set == NULL || !target_find("nginx-module")->trust(&agent->link, set, err)) {
        return false;
    }

    json_array_foreach(cas, i, fingerprint) {
        if (!trust_has(all, fingerprint)) {
            json_array_append(all, fingerprint);
        }
    }

    *knows = true;

    return true;
}
