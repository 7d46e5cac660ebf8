/* From an agent's row to a link that a target connector can use. */
#pragma once
#include "target.h"
#include "work.h"

struct agent_row {
    PGresult            *row;        /* what link's texts point into */
    struct target_link   link;
    bool                 enrolled;
    const char          *etag;       /* of its last report, "" when none */
    const char          *probe_address;
};

static inline void
agent_row_cleanup(struct agent_row *a)
{
    PQclear(a->row);
}

/* NOT_FOUND without such an agent; INVALID for a retired one. */
bool link_agent(struct work *w, const char *agent_id, struct agent_row *ret,
    struct error *err);

/* The record's name in a target's store: its configuration's, else fallback. */
void link_record(const json_t *config, const char *fallback, char *out,
    size_t size);
