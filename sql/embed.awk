# Turns sql/ into C.
#   awk -v want=h -f embed.awk query/agent.sql > sql_agent.h
#   awk -v want=c -f embed.awk query/*.sql schema/*.sql seed/*.sql > sql.c
# A "-- name: x" section of query/*.sql becomes SQL_X, schema/NNNN_*.sql and
# seed/*.sql become scripts, a line "-- rule x: y" of schema/*.sql a sentence, and
# a view api_x of schema/*.sql also the statement that answers one of its rows.

function quoted(line) {
    gsub(/\\/, "&&", line)
    gsub(/"/, "\\\"", line)
    return "\n        \"" line "\\n\""
}

FNR == 1 {
    dir = FILENAME
    sub(/\/[^\/]*$/, "", dir)
    sub(/.*\//, "", dir)
    file = FILENAME
    sub(/.*\//, "", file)
    name = ""
    if (dir == "query") {
        sub(/\.sql$/, "", file)
        header[++headers] = "sql_" file ".h"
    } else {
        scripts[dir, ++count[dir]] = file
    }
}

dir == "schema" && /^-- rule / {
    rule = $3
    sub(/:$/, "", rule)
    if (rule in sentence) {
        print FILENAME ": rule " rule " has two sentences" > "/dev/stderr"
        exit failed = 1
    }
    rules[++nrules] = rule
    sentence[rule] = $0
    sub(/^-- rule [^:]*: */, "", sentence[rule])
    gsub(/"/, "\\\"", sentence[rule])
    next
}

dir == "schema" && match($0, /^CREATE (OR REPLACE )?VIEW api_[a-z_]+/) {
    view = substr($0, RSTART, RLENGTH)
    sub(/.* /, "", view)
    if (!(view in known)) {
        known[view] = views[++nviews] = view
    }
}

dir != "query" {
    body[dir, count[dir]] = body[dir, count[dir]] quoted($0)
    next
}

/^-- name: / {
    name = $3
    if (name in text) {
        print FILENAME ": name " name " is defined twice" > "/dev/stderr"
        exit failed = 1
    }
    order[++n] = name
    text[name] = ""
    next
}
/^--/ || !NF { next }
name { text[name] = text[name] quoted($0) }

function script_table(dir) {
    print "\nconst struct sql_text  sql_" dir "[] = {"
    for (i = 1; i <= count[dir]; i++) {
        print "    { \"" scripts[dir, i] "\"," body[dir, i] " },"
    }
    print "    { NULL, NULL }\n};"
}

END {
    if (failed) {
        exit 1
    }
    if (want == "h") {
        print "/* Made by sql/embed.awk from sql/. */\n#pragma once\n#include \"statement.h\"\n"
        for (i = 1; i <= n; i++) {
            print "extern const struct sql_statement  sql_" order[i] ";"
            print "#define SQL_" toupper(order[i]) "  (&sql_" order[i] ")"
        }
        exit
    }
    print "/* Made by sql/embed.awk from sql/. */"
    for (i = 1; i <= headers; i++) {
        print "#include \"" header[i] "\""
    }
    print "#include <stddef.h>"
    for (i = 1; i <= n; i++) {
        print "\nconst struct sql_statement  sql_" order[i] " = {\n    " i - 1 ", \"" order[i] "\"," text[order[i]] "\n};"
    }
    print "\nconst int  sql_statements = " n + nviews ";"
    print "\nconst struct sql_statement  sql_views[] = {"
    for (i = 1; i <= nviews; i++) {
        print "    { " n + i - 1 ", \"" views[i] "\",\n      \"SELECT row_to_json(v) FROM " views[i] " v WHERE v.id = $1\" },"
    }
    print "    { 0, NULL, NULL }\n};"
    print "\nconst struct sql_text  sql_rules[] = {"
    for (i = 1; i <= nrules; i++) {
        print "    { \"" rules[i] "\", \"" sentence[rules[i]] "\" },"
    }
    print "    { NULL, NULL }\n};"
    script_table("schema")
    script_table("seed")
}
