# Mirrors files that are named like part of a database but are not, as rsync would: without locks.
package LsyncdAsCode::Plain;
use strict;
use warnings;
use Fcntl qw(S_ISREG);
use LsyncdAsCode::Beneath qw(open_file rename_file set_times status sync_directory);
use LsyncdAsCode::Install qw(follow_attributes set_attributes);
use LsyncdAsCode::Result qw(deferred need_space THROTTLED);
use LsyncdAsCode::Sparse qw(copy_sparse);
use LsyncdAsCode::System qw(fstat_ns now_ns sync);
use LsyncdAsCode::Temporary qw(beside);
use LsyncdAsCode::Unit qw(settled);
use Exporter qw(import);

our @EXPORT_OK = qw(copy_plain copy_beside);

# Copies one file if size or time differ, like rsync.
sub copy_plain {
    my ($source, $target, $temporary, $options) = @_;
    my $from = open_file(@$source) or return deferred('changed', 'disappeared while it was opened');
    my $is   = fstat_ns($from);
    my $have = status(@$target);
    return { state => 'same' } if $have && S_ISREG($have->{mode}) && $have->{size} == $is->{size} && $have->{mtime} == $is->{mtime};
    return deferred('throttled', THROTTLED) if !$options->{whole} && $is->{size} >= $options->{big};
    my $lacking = need_space($target, $is->{size}, $options);
    return $lacking if $lacking;
    my ($place, $copy) = $temporary->file;
    copy_sparse($from, $copy, sub { return undef });
    set_attributes($copy, $is, { %$options, new => 1 });
    # As in Install.pm: the mirror does not get a time that can hide a later write.
    set_times($copy, settled($is->{mtime}, now_ns()) ? $is->{mtime} : $is->{mtime} - 1);
    sync($copy);
    rename_file(@$place, @$target);
    sync_directory($target->[0]);
    return { state => 'copied', bytes => $is->{size} };
}

# Mirrors the files beside a name that is not a database, or does not exist. The gate deletes those that the source lacks.
sub copy_beside {
    my ($source, $target, $temporary, $options, $result) = @_;
    for my $suffix ('-wal', '-shm', '-journal') {
        my ($from, $to) = (beside($source, $suffix), beside($target, $suffix));
        my $there = status(@$from);
        next unless $there && S_ISREG($there->{mode});
        my $done = copy_plain($from, $to, $temporary, $options);
        return $done if $done->{state} eq 'deferred';
        $result = $done if $done->{state} eq 'copied';
        follow_attributes($to, $there, $options);
    }
    return $result;
}

1;
