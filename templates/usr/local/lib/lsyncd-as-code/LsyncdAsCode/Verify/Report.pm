# Reports the findings of a verification: prints them at once, and writes verify.tsv in the copier's state directory for monitors.
# The first line is "finished", seconds since 1970, "files", "databases", "faults", "unchecked", "seconds", each with its number;
# then a line per finding: fault, unchecked or repaired, path, description.
package LsyncdAsCode::Verify::Report;
use strict;
use warnings;
use LsyncdAsCode::Paths  qw();
use LsyncdAsCode::State  qw(replace_file state_file);
use LsyncdAsCode::System qw(ticks);

# The most findings of one kind that verify.tsv lists.
use constant LISTED => 1000;

sub new { my ($class) = @_; return bless { began => ticks(), number => { files => 0, databases => 0 }, found => {} }, $class }

sub count { my ($self, %number) = @_; $self->{number}{$_} = $number{$_} for keys %number; return }

# Kinds: fault (the mirror is faulty), unchecked (unknown), repaired (it was faulty).
sub found {
    my ($self, $kind, $path, $what) = @_;
    $_ = LsyncdAsCode::Paths::printable($_) for $path, $what;
    my $list = $self->{found}{$kind} //= { number => 0, lines => [] };
    push @{ $list->{lines} }, "$kind\t$path\t$what\n" if $list->{number}++ < LISTED;
    print uc $kind, " $path: $what\n";
    return;
}

sub number { my ($self, $kind) = @_; return $self->{found}{$kind}{number} // 0 }

# Writes the summary. Returns the exit code of lsyncd-verify.
sub finish {
    my ($self) = @_;
    my @numbers = (@{ $self->{number} }{qw(files databases)}, map { $self->number($_) } qw(fault unchecked));
    my $summary = sprintf "finished\t%d\tfiles\t%d\tdatabases\t%d\tfaults\t%d\tunchecked\t%d\tseconds\t%.1f\n", time, @numbers, ticks() - $self->{began};
    replace_file(state_file('verify.tsv'), join '', $summary, map { @{ $self->{found}{$_}{lines} // [] } } qw(fault unchecked repaired));
    printf "%d repaired\n", $self->number('repaired') if $self->number('repaired');
    printf "%d files, %d databases: %d faults, %d not checked\n", @numbers;
    return $self->number('fault') ? 1 : $self->number('unchecked') ? 2 : 0;
}

1;
