package LsyncdAsCode::Paths;
# Paths below a volume, as lsyncd lists them and as rsync's filter rules name them. A path is bytes: any but NUL, without a slash at
# either end.
#
# The list that lsyncd 2.2 gives to rsync (default-rsync.lua) is meant to be include patterns: it puts a backslash before each of
# ? * [ ] and leaves backslashes as they are. rsync reads a backslash as an escape only in a pattern that has a wildcard (rsync(1),
# PATTERN MATCHING RULES), so `a\]b` is to rsync another file than `a]b`. This module decodes lsyncd's meaning and encodes it again.
use strict;
use warnings;

# Bytes of the longest pattern that rsync takes (exclude.c: shorter than MAXPATHLEN); it drops a longer one.
use constant LONGEST_PATTERN => 4095;

# The entries of a list of lsyncd: { path, directory, below }. `directory` is 1 when lsyncd names it as one, `below` when all that was
# in it is meant as well (it was deleted). The volume's root has an empty path. Dies on what lsyncd does not write.
sub from_lsyncd {
    my ($list) = @_;
    return map { entry($_) } grep { $_ ne '' } split /\0/, $list;
}

sub entry {
    my ($pattern) = @_;
    my ($path) = $pattern =~ m{\A/(.*)\z}s or die "lsyncd's list has a path that does not begin with a slash: " . printable($pattern) . "\n";
    # lsyncd escapes an asterisk of a name, so these are its own.
    my $below = $path =~ s{/\*\*\*\z}{/};
    my $directory = $path =~ s{/\z}{} || $path eq '';
    # Each of them has exactly one backslash of lsyncd's before it; those before that one are the name's.
    $path =~ s/\\([?*\[\]])/$1/g;
    return { path => $path, directory => $directory ? 1 : 0, below => $below ? 1 : 0 };
}

# The list that makes rsync look at these entries (--from0 --include-from=-).
sub to_rsync {
    my @entries = @_;
    return join "\0", map { include_pattern($_) } @entries;
}

sub include_pattern {
    my ($entry) = @_;
    return '/' if $entry->{path} eq '';
    return pattern($entry->{path}, $entry->{below} ? '/***' : $entry->{directory} ? '/' : '');
}

# A filter rule for one path from the volume's root and nothing else; $sign is + or -. A path that ends with a slash means a
# directory only. Rules stand in a file with a NUL after each (--from0 before --exclude-from): a path may hold the end of a line.
sub rule {
    my ($sign, $path) = @_;
    my $end = $path =~ s{/\z}{} ? '/' : '';
    return "$sign " . pattern($path, $end);
}

# The text of a file of rules.
sub rules_text {
    my @rules = @_;
    return join '', map { "$_\0" } @rules;
}

# The pattern that matches one path, and what $end says of it.
sub pattern {
    my ($path, $end) = @_;
    return "/$path$end" if "$path$end" !~ /[?*\[]/;
    my $over = 1 + length($path) + ($path =~ tr/\\?*[//) + length($end) - LONGEST_PATTERN;
    # Where there is no room for all backslashes, a ? stands for the first of these bytes: what differs from the path in nothing
    # else is matched as well.
    $path =~ s/([\\?*\[])/$over-- > 0 ? '?' : "\\$1"/ge;
    return "/$path$end";
}

# Directory and name of a path.
sub split_path { my ($path) = @_; my $cut = rindex $path, '/'; return $cut < 0 ? ('', $path) : (substr($path, 0, $cut), substr $path, $cut + 1) }

# For messages and files with one entry a line: control characters and backslashes as \xNN.
sub printable { my ($text) = @_; return $text =~ s/([\\\x00-\x1f\x7f])/sprintf '\\x%02x', ord $1/ger }

1;
