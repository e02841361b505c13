# The model kills processes at their Nth system call: really at that one, before it has an effect, and not at others.
use strict;
use warnings;
use Test::More;
use File::Temp qw(tempdir);
use FindBin qw($Bin);
use lib "$Bin/../../support/model";
use Copier;
use Traced qw(count_calls traced);

my $folder = tempdir(CLEANUP => 1);

# Runs a function in a child that is killed at its call of number $at. Returns its exit code and the signal.
sub killed_at {
    my ($at, $do, @names) = @_;
    my $pid = fork // die "cannot fork: $!\n";
    if (!$pid) { count_calls($at, @names); $do->(); leave(7) }
    return traced($pid);
}

sub made { opendir my $d, $folder or die; return join ' ', sort grep { !/^\./ } readdir $d }

# Some calls that count, and reads in between.
sub work {
    my $directory = directory($folder);
    for my $name (qw(a b c)) {
        my $file = create_file($directory, $name);
        write_at($file, 0, 'x');
        read_at($file, 0, 1);
        open_file($directory, $name);
    }
    return;
}

for my $case ([ 1, '' ], [ 2, 'a:0' ], [ 3, 'a:1' ], [ 4, 'a:1 b:0' ], [ 6, 'a:1 b:1 c:0' ]) {
    my ($at, $left) = @$case;
    is_deeply([ killed_at($at, \&work, 'write') ], [ 0, 9 ], "killed at call $at");
    is(join(' ', map { "$_:" . -s "$folder/$_" } split / /, made()), $left, 'which had no effect');
    unlink glob "$folder/*";
}
is_deeply([ killed_at(7, \&work, 'write') ], [ 7, 0 ], 'an end of its own, before that call');
unlink glob "$folder/*";
is_deeply([ killed_at(4, \&work, 'unlinkat') ], [ 7, 0 ], 'other calls do not count');

# One that is not traced.
my $pid = fork // die;
leave(5) unless $pid;
is_deeply([ traced($pid) ], [ 5, 0 ], 'the exit code of one that counts nothing');

# The same in Python.
my $program = <<'END';
import os, sys
from traced import count_calls, traced
pid = os.fork()
if pid == 0:
    f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
    count_calls()
    for i in range(5):
        os.pread(f, 1, 0)
        os.pwrite(f, b"x", i)
    os._exit(0)
killed = traced(pid, int(sys.argv[2]))
print(killed, os.path.getsize(sys.argv[1]))
END
for my $case ([ 1, 'True 0' ], [ 4, 'True 3' ], [ 6, 'False 5' ]) {
    my ($at, $expected) = @$case;
    local $ENV{PYTHONPATH} = "$Bin/../../support/model";
    unlink "$folder/p";
    open my $said, '-|', 'python3', '-B', '-c', $program, "$folder/p", $at or die;
    is(join('', <$said>), "$expected\n", "Python: call $at");
}

done_testing();
