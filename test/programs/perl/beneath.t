# Root's access by handle: it opens and creates entries only inside, also while an attacker swaps them in a loop.
use strict;
use warnings;
use Test::More;
use Fcntl qw(:DEFAULT :mode);
use File::Temp qw(tempdir);
use Copier;

plan skip_all => 'only root can have files of other owners' if $> != 0;
my $root = tempdir(CLEANUP => 1);
my $nobody = 65534;
sub put { my ($path, $text) = @_; open my $file, '>', $path or die "$path: $!"; print {$file} $text; close $file; return }
sub dies_like { my ($code, $pattern, $what) = @_; eval { $code->(); 1 }; like($@, $pattern, $what); return }

for my $how ('the kernel', 'ourselves') {
    LsyncdAsCode::Beneath::use_openat2($how eq 'the kernel');
    mkdir "$root/a";
    mkdir "$root/a/b";
    mkdir "$root/outside";
    symlink '../outside', "$root/a/out";
    symlink "$root/a/b", "$root/a/link";
    put("$root/a/file", 'text');
    ok(open_beneath($root, 'a/b'), "a directory, walked by $how");
    ok(open_beneath(directory($root), 'a/b'), 'from a handle');
    ok(open_beneath($root, ''), 'the root itself');
    is(open_beneath($root, $_), undef, "$_ is not there") for 'a/c', 'c/b', 'a/out', 'a/link', 'a/out/x', 'a/file', 'a/file/x';
    dies_like(sub { open_beneath($root, $_) }, qr/must not contain/, "not $_") for '../x', 'a/../a', './a';
    dies_like(sub { open_beneath("$root/none", 'a') }, qr/cannot open/, 'a root that is missing is an error');
    dies_like(sub { open_beneath($root, 'a', '0:0') }, qr/is the volume mounted/, 'another root is an error');
    my $is = stat_ns($root);
    ok(open_beneath($root, 'a', "$is->{dev}:$is->{ino}"), 'the same root');
    ok(open_beneath($root, join '/', 'a', ('b') x 1), 'the same directory again');
    # Longer than the kernel's limit for a path.
    my $deep = join '/', ('d' x 200) x 25;
    my $at = open_beneath($root, '');
    $at = make_directory($at, 'd' x 200) for 1 .. 25;
    ok(open_beneath($root, $deep), 'a path of 5 kB');
}
LsyncdAsCode::Beneath::use_openat2(1);

my $top = open_beneath($root, '');
{
    # Exchanged for somebody else's as soon as it is made: its owner must not be set to that of a new one.
    my $open = \&LsyncdAsCode::Beneath::open_at;
    no warnings 'redefine';
    local *LsyncdAsCode::Beneath::open_at = sub { rmdir "$root/made"; mkdir "$root/made"; chown $nobody, $nobody, "$root/made"; return $open->(@_) };
    ok(!(make_directory($top, 'made'))[1], 'a directory of another owner is not new');
    rmdir "$root/made";
}
ok((make_directory($top, 'made'))[1], 'one that was made is');
rmdir "$root/made";
put("$root/1", 'one');
is(read_at(open_file($top, '1'), 0, 9), 'one', 'a file whose name is a number');
symlink '1', "$root/link";
system 'mkfifo', "$root/fifo";
is(open_file($top, $_), undef, "$_ is not opened as a file") for 'link', 'fifo', 'a', 'none';
is(open_file($top, $_, O_RDWR), undef, "$_ is not opened for writing") for 'link', 'fifo', 'a', 'none';
ok(open_file($top, '1', O_RDWR), 'a file for writing');
link "$root/1", "$root/other";
is(open_file($top, '1', O_RDWR), undef, 'a file with a second name is not opened for writing');
ok(open_file($top, '1'), 'it is opened for reading');
dies_like(sub { open_file($top, $_) }, qr/no name/, "'$_' is not a name") for '', '.', '..', 'a/b', "a\0b";
dies_like(sub { create_file($top, '1') }, qr/cannot create .*exists/, 'an existing file is not overwritten');
dies_like(sub { create_file($top, 'link') }, qr/cannot create/, 'nor is an existing link');
my $new = create_file($top, 'new');
is(fstat_ns($new)->{mode} & 07777, 0600, 'a new file is open to root alone');
write_at($new, 0, 'x');
set_owner($new, $nobody, $nobody);
set_mode($new, 0640);
set_times($new, -1_750_000_000);
my $now = status($top, 'new');
is_deeply([ @$now{qw(uid gid mtime nlink size)}, $now->{mode} & 07777 ], [ $nobody, $nobody, -1_750_000_000, 1, 1, 0640 ], 'owner, time and mode of an open file');
rename_file($top, 'new', open_beneath($root, 'a'), 'moved');
ok(-e "$root/a/moved", 'renamed to another directory');
is(remove_file($top, 'none'), 0, 'removing a missing file is not an error');
is(remove_file($top, 'link'), 1, 'a link is removed');
ok(-e "$root/1", 'the file it points to is not');
is(remove_directory($top, 'a'), 0, 'a directory with entries is not removed');
mkdir "$root/empty";
is(remove_directory($top, 'empty'), 1, 'an empty one is removed');
make_link($top, 'link', 'any where');
is(read_link($top, 'link'), 'any where', 'the destination of a link');
is(read_link($top, $_), undef, "$_ is not a link") for '1', 'none', 'a';
is_deeply([ sort grep { /\A(?:1|a|link)\z/ } names($top) ], [ 1, 'a', 'link' ], 'names');
sync_directory($top);

# Root's own directory is refused unless it is a directory that only root can enter.
my $private = "$root/.lsyncd-as-code";
is(private($top, 0), undef, 'reading does not create the private directory');
ok(private($top, 1), 'a private directory');
is((stat $private)[2] & 07777, 0700, 'it is open to root alone');
chmod 0755, $private;
dies_like(sub { private($top, $_) }, qr/not for root alone/, 'refused if others can enter it') for 0, 1;
chmod 0700, $private;
chown $nobody, $nobody, $private;
dies_like(sub { private($top, 1) }, qr/not for root alone/, "refused if it belongs to another user");
rmdir $private;
symlink 'a', $private;
dies_like(sub { private($top, 1) }, qr/cannot open/, 'refused if it is a link');
unlink $private;
put($private, 'x');
dies_like(sub { private($top, 1) }, qr/cannot open/, 'refused if it is a file');
unlink $private;
chmod 02777, $root;
ok(private($top, 1), 'created below a setgid directory, too');
chmod 0700, $root;
is_deeply([ map { is_private($_) } '.lsyncd-as-code', '.lsyncd-as-code/x/y', '.lsyncd-as-code2', 'a/.lsyncd-as-code' ], [ 1, 1, 0, 0 ], 'its paths are recognized');
is_deeply([ map { is_private($_) } '.lsyncd-rsync.private', 'a/.lsyncd-rsync.private', 'a/.lsyncd-rsync.private/copy.1.2' ], [ 1, 1, 1 ], 'so is the one of a subvolume');
is_deeply([ map { is_private($_) } '.lsyncd-rsync.a', 'a/.lsyncd-rsync.a.sqlite-wal', 'x.lsyncd-rsync.private', '.lsyncd-rsync.private2/a' ], [ 0, 0, 0, 0 ], 'but no name of a user like that');
my $part = part($top, 'copies', 1);
write_file($part, 'x', "text\n");
is(read_file($part, 'x'), "text\n", 'a file in it is read');
link "$private/copies/x", "$private/copies/y";
is(read_file($part, 'x'), undef, 'a file in it with a second name is not');

# Removes leftovers of earlier versions, and nothing else.
mkdir "$root/.lsyncd-rsync.$_", 0700 for qw(private verify verify.1.0a), 'verify.2', 'verify.3', 'other';
put("$root/.lsyncd-rsync.$_", 'x') for 'private/copy.999999999.1', "private/copy.$$.1", 'verify/mirror-wal', 'verify.1.0a/source.new', 'verify.2/mine', 'verify.3/mirror', 'other/mirror';
chmod 0755, "$root/.lsyncd-rsync.verify.3";
clean_up($root);
is_deeply([ map { s{.*/\.lsyncd-rsync\.}{}r } sort map { glob "$_/*" } glob "$root/.lsyncd-rsync.*" ],
    [ 'other/mirror', "private/copy.$$.1", 'verify.2/mine', 'verify.3/mirror' ], 'only unused files are removed');
system 'rm', '-rf', glob "$root/.lsyncd-rsync.*";
clean_up($root);
mkdir "$root/.lsyncd-rsync.verify", 0700;
clean_up($root);
ok(-d "$root/.lsyncd-rsync.verify", 'once, because reading all names takes long');
mkdir "$root/.lsyncd-rsync.private", 0700;
clean_up($root);
is_deeply([ glob "$root/.lsyncd-rsync.*" ], [], 'and again after an earlier version');

# The owner of the mirror's directory swaps its entries for links, as quickly as possible, while databases are copied.
subtest 'a swapping loop' => sub {
    my $seconds = $ENV{LONG} ? 60 : 4;
    my ($source, $target, $outside) = map { mkdir "$root/$_"; "$root/$_" } qw(source target elsewhere);
    put("$outside/shadow", "root's own\n");
    chmod 0600, "$outside/shadow";
    chown $nobody, $nobody, $source, $target;
    chmod 0755, $root;
    system 'python3', '-c', 'import sqlite3, sys
for mode in "wal", "delete":
    c = sqlite3.connect(sys.argv[1] + "/" + mode + ".db"); c.execute("pragma journal_mode = " + mode); c.execute("create table t (b)")
    c.execute("insert into t values (randomblob(200000))"); c.commit(); c.close()', $source;
    chown $nobody, $nobody, glob "$source/*";
    my $swapper = fork // die;
    if (!$swapper) {
        ($(, $)) = ($nobody, "$nobody $nobody");
        ($<, $>) = ($nobody, $nobody);
        chdir $target or POSIX::_exit(1);
        while (1) {
            for my $name (map { ("$_.db", "$_.db-wal", "$_.db-shm") } qw(wal delete)) {
                my $way = int rand 4;
                unlink $name or rmdir $name;
                if    ($way == 0) { symlink "$outside/shadow", $name }
                elsif ($way == 1) { link "$outside/shadow", $name }
                elsif ($way == 2) { mkdir $name }
                # Its private directory too.
                elsif ($way == 3) { rename '.lsyncd-as-code', 'x' . int rand 5; symlink $outside, '.lsyncd-as-code' }
                rename "$name", "$name.old";
            }
            if (opendir my $d, '.') { for (readdir $d) { unlink $_ if /as-code|^x/ && -l $_ } }
        }
    }
    my ($end, $copies, %said) = (ticks() + $seconds, 0);
    my $handles = [ map { directory($_) } $source, $target ];
    while (ticks() < $end) {
        for my $name (qw(wal.db delete.db)) {
            my $done = eval { sync_unit(@$handles, $name, options(owner => 1, group => 1, perms => 1, volume => $handles->[1])) };
            $copies++ if $done && $done->{state} eq 'copied';
            $said{ $@ =~ s/\S*\Q$root\E\S*/PATH/gr }++ unless $done;
        }
    }
    kill KILL => $swapper;
    waitpid $swapper, 0;
    cmp_ok($copies, '>', 3, "$copies copies were made in the loop");
    my @is = stat "$outside/shadow";
    is_deeply([ $is[2] & 07777, @is[ 4, 5, 7 ] ], [ 0600, 0, 0, 11 ], 'the file outside keeps its mode, owner and size');
    is(read_at(open_source("$outside/shadow"), 0, 99), "root's own\n", 'and its content');
    is_deeply([ glob "$outside/* $outside/.ls*" ], ["$outside/shadow"], 'nothing was created beside it');
    note "$_: $said{$_}" for sort keys %said;
};
done_testing();
