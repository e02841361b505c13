# Separates the databases in a list of lsyncd from everything else, by inspecting only the listed paths. Most calls list only
# changed databases: rsync has nothing to do then, and for a few other files it need not read their directories.
package LsyncdAsCode::Sift;
use strict;
use warnings;
use Fcntl qw(S_ISDIR S_ISREG);
use LsyncdAsCode::Gate::Names qw(base_of);
use LsyncdAsCode::Gate::Volume ();
use LsyncdAsCode::Names  qw(has_header unit_by_name);
use LsyncdAsCode::Options qw(chooses_nothing);
use LsyncdAsCode::Paths  ();
use LsyncdAsCode::Private qw(is_private);
use LsyncdAsCode::Run    qw(options_for_files);
use LsyncdAsCode::State  qw(settings_list);
use LsyncdAsCode::System qw(stat_ns);
use Exporter qw(import);

our @EXPORT_OK = qw(sift);

# Returns undef if the list alone is not sufficient and a dry run of rsync is needed. Else
#   databases  to process now: their directories are the same on both sides
#   later      to process once rsync has made their directories
#   others     paths for rsync; directories without their contents; the root is "."
#   deleted    databases of the mirror in directories that are gone from the source
#   by_header  databases known only by their header
sub sift {
    my ($arguments, $input, $source, $target) = @_;
    my @options = @$arguments[ 0 .. $#$arguments - 2 ];
    my %is = map { $_ => 1 } @options;
    return undef if $input eq '' || !$is{'--include-from=-'} || !$is{'--exclude=*'} || !chooses_nothing([ settings_list('plain_option') ], @options);
    my @entries = eval { LsyncdAsCode::Paths::from_lsyncd($input) } or return undef;
    my $self = {
        source => $source, target => $target, perms => options_for_files($arguments)->{perms}, times => !$is{'--omit-dir-times'},
        # Nothing here reads ACLs or extended attributes.
        unseen => scalar(grep { /\A-[^-]*[XA]/ } @options), above => {},
    };
    my (%unit, %header, %gone, %deleted, @others);
    for my $entry (sort { length $a->{path} <=> length $b->{path} } grep { $_->{below} } @entries) {
        my $path = $entry->{path};
        next if within($path, \%gone);
        # Who lets rsync delete must have it ask; here the gate has counted what goes, and deletes what is no database.
        return undef if grep({ /\A--delete/ } @options) || !gone($self, $path, \%deleted, \%header);
        $gone{$path} = 1;
    }
    for my $entry (@entries) {
        my $path = $entry->{path};
        next if is_private($path) || $gone{$path} || within($path, \%gone);
        if ($entry->{directory}) {
            my $is = directory($self, $path);
            return undef if $is eq 'other';
            push @others, $path if length $path && ($is ne 'same' || $self->{unseen});
            next;
        }
        my ($above) = LsyncdAsCode::Paths::split_path($path);
        return undef if directory($self, $above) eq 'other';
        my ($here, $there) = map { kind("$_/$path") } $source, $target;
        return undef if $here eq 'directory' || $there eq 'directory';
        my $unit = unit_by_name($path) // unit_by_header($self, $path, $here, $there, \%header);
        if (!defined $unit) { push @others, $path if "$here$there" ne 'missingmissing' }
        # rsync handles a directory of that name, on either side. Its -wal and -shm name it again.
        elsif (!exists $unit{$unit} && grep { kind("$_/$unit") eq 'directory' } $source, $target) { return undef }
        else { $unit{$unit} = $above }
    }
    return undef if directory($self, '') eq 'other';
    my @late = grep { $self->{above}{ $unit{$_} } ne 'same' } keys %unit;
    push @others, map { length ? $_ : '.' } grep { $self->{above}{$_} ne 'same' } keys %{ $self->{above} };
    my %once;
    return {
        databases => [ grep { $self->{above}{ $unit{$_} } eq 'same' } keys %unit ], later => \@late,
        others => [ grep { !$once{$_}++ } @others ], by_header => [ keys %header ], deleted => [ sort keys %deleted ],
    };
}

# Whether a directory above a path is in a set.
sub within {
    my ($path, $set) = @_;
    return 0 unless %$set;
    for (my ($up) = LsyncdAsCode::Paths::split_path($path); length $up; ($up) = LsyncdAsCode::Paths::split_path($up)) { return 1 if $set->{$up} }
    return 0;
}

# A deleted directory: adds the databases that its mirror holds. Returns whether that is all there is to know. It
# costs a look at that directory of the mirror, and at nothing else.
sub gone {
    my ($self, $path, $deleted, $header) = @_;
    return 0 if !length $path || kind("$self->{source}/$path") ne 'missing' || kind("$self->{target}/$path") !~ /\A(?:directory|missing)\z/;
    $self->{mirror} //= LsyncdAsCode::Gate::Volume->new($self->{target});
    $self->{mirror}->walk($path, sub {
        my ($one, $found) = @_;
        return 0 if $found->{type} eq 'd' || is_private($one);
        my $unit = unit_by_name($one) // unit_by_header($self, $one, 'missing', 'file', $header);
        $deleted->{$unit} = 1 if defined $unit;
        return 0;
    });
    return 1;
}

sub kind {
    my ($path) = @_;
    my $found = stat_ns($path) or return 'missing';
    return S_ISREG($found->{mode}) ? 'file' : S_ISDIR($found->{mode}) ? 'directory' : 'special';
}

# Compares a directory and its parents. Returns "same", "changed" (or missing in the mirror), or "other": not a directory in the
# source, or another type of file in the mirror. Each is compared once.
sub directory {
    my ($self, $path) = @_;
    return $self->{above}{$path} //= do {
        my $above = length $path ? directory($self, (LsyncdAsCode::Paths::split_path($path))[0]) : 'same';
        $above eq 'other' ? 'other' : compare($self, $path);
    };
}

sub compare {
    my ($self, $path) = @_;
    # The root may be a link: see LSYNCD_ROOTS.
    my ($one, $other) = map { stat_ns($_ . (length $path ? "/$path" : '/.')) } @$self{qw(source target)};
    return 'other' if !$one || !S_ISDIR($one->{mode});
    return 'changed' if !$other;
    return 'other' if !S_ISDIR($other->{mode});
    my $same = $one->{uid} == $other->{uid} && $one->{gid} == $other->{gid} && (!$self->{perms} || $one->{mode} == $other->{mode})
        && (!$self->{times} || $one->{mtime} == $other->{mtime});
    return $same ? 'same' : 'changed';
}

# Returns the database of a file whose name matches no pattern, by the header in the source or, if that is gone, in the mirror.
sub unit_by_header {
    my ($self, $path, $here, $there, $found) = @_;
    my ($root, $is) = $here ne 'missing' ? ($self->{source}, $here) : ($self->{target}, $there);
    if ($is eq 'file' && has_header($root, $path)) { $found->{$path} = 1; return $path }
    my $base = base_of($path) // return undef;
    for (@$self{qw(source target)}) {
        next if kind("$_/$base") ne 'file' || !has_header($_, $base);
        $found->{$base} = 1;
        return $base;
    }
    return undef;
}

1;
