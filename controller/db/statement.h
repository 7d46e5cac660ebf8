/* What sql/embed.awk makes of sql/: statements, scripts and sentences of rules. */
#pragma once

/*
 * A section "-- name: agent_get" of sql/query/agent.sql is SQL_AGENT_GET of the
 * generated sql_agent.h: a new statement rebuilds who includes its header.
 */
struct sql_statement {
    int          number;            /* from 0 */
    const char  *name, *text;
};

extern const int  sql_statements;   /* how many there are */

/* By the name of a view of sql/schema: its row of an id, as JSON. */
extern const struct sql_statement  sql_views[];

struct sql_text { const char *name, *text; };

/* A NULL name ends each. sql_rules: constraint and what its breach means. */
extern const struct sql_text  sql_schema[], sql_seed[], sql_rules[];
