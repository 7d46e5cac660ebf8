/* From an agent's row to a link that a target connector can use. */
#pragma once
#include "target.h"
#include "work.h"

struct agent_row {
    PGresult            *row;        /* what link's texts point into */
    struct target_link   link;
    bool                 enrolled;
    const char          *lapsed;     /* fingerprint of an identity that has expired */
    const char          *etag;       /* of its last report, "" when none */
    const char          *probe_address;
    const char          *read_at;    /* when this row was read, by the database */
    bool                 recovers;   /* its first report is waited for: agent.h */
    bool                 live_due;   /* what was deployed there is to be judged */
    const char          *cas;        /* fingerprints that it should trust, as JSON */
    struct {
        const char      *id, *fingerprint, *pem;
    } authority;                     /* the fleet CA that it is called by */
};

static inline void
agent_row_cleanup(struct agent_row *a)
{
    PQclear(a->row);
}

/* NOT_FOUND without such an agent; INVALID for a retired one. */
bool link_agent(struct work *w, const char *agent_id, struct agent_row *ret,
    struct error *err);

/* Text of a target's configuration with the certificate's id and common name in
 * place of {id} and {common_name}. */
void link_place(const char *text, const char *id, const char *common_name,
    char *out, size_t size);

/* The record's name in a target's store: its configuration's, else the common
 * name.  INVALID for a name that the module does not take, or keeps for itself. */
bool link_record(const json_t *config, const char *id, const char *common_name,
    char *out, size_t size, struct error *err);
