#!/usr/bin/perl
# The examples of docs/api.md are what certctld answers, and each resource that can
# be created has one. EXAMPLES=write t/run t/12-api-examples.t puts what it answers
# into the document.

use strict;
use warnings;
use Certctl::API;
use Certctl::Process qw(slurp write_file);
use JSON::PP 'decode_json';
use Test::More;

my $d    = api_daemon();
my $text = slurp('docs/api.md');
my ($examples) = $text =~ /^## Examples\n(.*?)(?=^## |\z)/ms or BAIL_OUT('docs/api.md has no examples');
my ($new, %seen) = ($examples);

for my $block ($examples =~ /^```\n(POST .*?)^```\n/msg) {
    my ($path, $body) = $block =~ m{^POST (\S+)\n(.*?)\n\n}s or BAIL_OUT($block);
    my $r = $d->api->post($path, decode_json($body));
    my $is = "POST $path\n$body\n\n$r->{status}\n" . wrapped(plain($r->{content})) . "\n";

    $seen{$path} = 1;
    is($is, $block, "POST $path");
    substr($new, index($new, $block), length $block) = $is;
}

my $document = $d->api->get('/api/v1/openapi.json')->{json};
my @made = grep { !/\{/ && $document->{paths}{$_}{post} && $document->{paths}{$_}{post}{responses}{201} }
    keys %{ $document->{paths} };

is(join(' ', sort keys %seen), join(' ', sort @made), 'each resource that can be created has an example');
substr($text, index($text, $examples), length $examples) = $new;
write_file('docs/api.md', $text) if ($ENV{EXAMPLES} // '') eq 'write';
done_testing();

# What differs each time: times, certificates, keys, ids that are drawn.
sub plain {
    my ($json) = @_;

    $json =~ s/"\d{4}-\d\d-\d\dT[\d:.]+\+00:00"/"2026-05-04T12:00:00+00:00"/g;
    $json =~ s/"-----BEGIN CERTIFICATE-----\\n[^"]*"/"-----BEGIN CERTIFICATE-----\\n..."/g;
    $json =~ s/"certctl_[0-9a-f]{64}"/"certctl_..."/g;
    $json =~ s/"fleet-[0-9a-f]{20}"/"fleet-..."/g;
    $json =~ s/"fingerprint":\s*"[0-9a-f]{64}"/"fingerprint": "..."/g if $json =~ /"fleet-/;
    return $json;
}

# The members of an object, with blanks, as many on a line as 130 characters hold.
sub wrapped {
    my ($json) = @_;
    my ($line, @lines) = ('');
    my $value = qr/(?<value>"(?:[^"\\]|\\.)*"|\{(?:[^{}"]|(?&value))*\}|\[(?:[^\[\]"]|(?&value))*\]|[\w.-]+)/;

    while ($json =~ /("\w+"):\s*$value[,}]/gc) {
        my $member = "$1: " . ($2 =~ s/("(?:[^"\\]|\\.)*")|\s*([:,])\s*/$1 \/\/ "$2 "/ger);

        if (length("$line, $member") > 128 && length $line) {
            push @lines, "$line,";
            $line = '';
        }

        $line .= length $line ? ", $member" : $member;
    }

    return '{' . join("\n ", @lines, $line) . '}';
}
