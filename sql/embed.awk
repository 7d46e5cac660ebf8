# Turns sql/ into C: "-- name: x" sections of query/*.sql become an enum and a
# table of statements; schema/NNNN_*.sql and seed/*.sql become tables of scripts.
#   awk -v want=h -f embed.awk query/*.sql schema/*.sql seed/*.sql > sql.h
#   awk -v want=c -f embed.awk ... > sql.c

function quoted(line) {
    gsub(/\\/, "&&", line)
    gsub(/"/, "\\\"", line)
    return "\n        \"" line "\\n\""
}

FNR == 1 {
    kind = FILENAME
    sub(/\/[^\/]*$/, "", kind)
    sub(/.*\//, "", kind)
    name = ""
    if (kind != "query") {
        file = FILENAME
        sub(/.*\//, "", file)
        scripts[kind, ++count[kind]] = file
    }
}

kind != "query" {
    body[kind, count[kind]] = body[kind, count[kind]] quoted($0)
    next
}

/^-- name: / {
    name = $3
    if (name in text) {
        print FILENAME ": " name " is defined twice" > "/dev/stderr"
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
        print "/* Made by sql/embed.awk from sql/. */\n#pragma once\n\nenum sql {"
        for (i = 1; i <= n; i++) {
            print "    SQL_" toupper(order[i]) ","
        }
        print "    SQL__MAX\n};\n"
        print "struct sql_text { const char *name, *text; };\n"
        print "extern const struct sql_text  sql_texts[SQL__MAX];"
        print "extern const struct sql_text  sql_schema[], sql_seed[];   /* NULL name ends */"
    } else {
        print "/* Made by sql/embed.awk from sql/. */\n#include \"sql.h\"\n#include <stddef.h>\n"
        print "const struct sql_text  sql_texts[SQL__MAX] = {"
        for (i = 1; i <= n; i++) {
            print "    [SQL_" toupper(order[i]) "] = { \"" order[i] "\"," text[order[i]] " },"
        }
        print "};"
        script_table("schema")
        script_table("seed")
    }
}
