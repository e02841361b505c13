package LsyncdAsCode::Paths;
# Paths below a volume, in lsyncd's lists and in rsync's filter rules. A path is bytes: any but NUL, without a slash at either
# end.
#
# lsyncd 2.2 passes include patterns to rsync (default-rsync.lua): it puts a backslash before each of ? * [ ] and does not
# escape backslashes. rsync treats a backslash as an escape only in a pattern that has a wildcard (rsync(1), PATTERN MATCHING
# RULES), so to rsync `a\]b` is another file than `a]b`. This module decodes lsyncd's paths and encodes them for rsync.
use strict;
use warnings;

# The longest pattern that rsync accepts, in bytes (exclude.c: shorter than MAXPATHLEN); it drops a longer one.
use constant LONGEST_PATTERN => 4095;

# Returns the entries of a list of lsyncd: { path, directory, below }. `directory` is 1 if lsyncd names it as one, `below` if the
# entry includes all its contents (it was deleted). The volume's root has an empty path. Dies on a malformed list.
sub from_lsyncd {
    my ($list) = @_;
    return map { entry($_) } grep { $_ ne '' } split /\0/, $list;
}

sub entry {
    my ($pattern) = @_;
    my ($path) = $pattern =~ m{\A/(.*)\z}s or die "lsyncd's list has a path that does not begin with a slash: " . printable($pattern) . "\n";
    # lsyncd escapes asterisks in names, so these are its own.
    my $below = $path =~ s{/\*\*\*\z}{/};
    my $directory = $path =~ s{/\z}{} || $path eq '';
    # lsyncd put exactly one backslash before each of these characters; others belong to the name.
    $path =~ s/\\([?*\[\]])/$1/g;
    return { path => $path, directory => $directory ? 1 : 0, below => $below ? 1 : 0 };
}

# Returns the list that makes rsync process these entries (--from0 --include-from=-).
sub to_rsync {
    my @entries = @_;
    return join "\0", map { include_pattern($_) } @entries;
}

sub include_pattern {
    my ($entry) = @_;
    return '/' if $entry->{path} eq '';
    return pattern($entry->{path}, $entry->{below} ? '/***' : $entry->{directory} ? '/' : '');
}

# Returns a filter rule for exactly one path from the volume's root; $sign is + or -. A path that ends with a slash matches only
# a directory. In a file, each rule ends with a NUL (--from0 before --exclude-from), because a path may contain a newline.
sub rule {
    my ($sign, $path) = @_;
    my $end = $path =~ s{/\z}{} ? '/' : '';
    return "$sign " . pattern($path, $end);
}

# Returns the text of a file of rules.
sub rules_text {
    my @rules = @_;
    return join '', map { "$_\0" } @rules;
}

# Returns the pattern that matches one path, followed by $end.
sub pattern {
    my ($path, $end) = @_;
    return "/$path$end" if "$path$end" !~ /[?*\[]/;
    my $over = 1 + length($path) + ($path =~ tr/\\?*[//) + length($end) - LONGEST_PATTERN;
    # If there is no room for all backslashes, a ? replaces the first of these bytes; paths that differ only there match too.
    $path =~ s/([\\?*\[])/$over-- > 0 ? '?' : "\\$1"/ge;
    return "/$path$end";
}

# Returns directory and name of a path.
sub split_path { my ($path) = @_; my $cut = rindex $path, '/'; return $cut < 0 ? ('', $path) : (substr($path, 0, $cut), substr $path, $cut + 1) }

# Escapes control characters and backslashes as \xNN, for messages and files with one entry per line.
sub printable { my ($text) = @_; return $text =~ s/([\\\x00-\x1f\x7f])/sprintf '\\x%02x', ord $1/ger }

1;
