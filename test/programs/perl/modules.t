# Each module imports the functions it calls, and nothing else: perl -c does not see a function that is missing.
use strict;
use warnings;
use Test::More;

my ($folder) = map { s{System\.pm\z}{}r } grep { defined } do { require LsyncdAsCode::System; $INC{'LsyncdAsCode/System.pm'} };
my (%module_of, %code);
for my $file (glob "$folder*.pm $folder*/*.pm") {
    require $file =~ s{\A\Q$folder\E}{LsyncdAsCode/}r;
    my $module = $file =~ s{\A\Q$folder\E|\.pm\z}{}gr =~ s{/}{::}gr;
    $code{$module} = do { local (@ARGV, $/) = $file; <> };
    no strict 'refs';
    $module_of{$_} = $module for @{"LsyncdAsCode::${module}::EXPORT_OK"};
}
# By name: its tags export 130 constants into each module, which takes a tenth of the time of a start.
require Fcntl;
$module_of{$_} = 'Fcntl' for @Fcntl::EXPORT, @Fcntl::EXPORT_OK;
cmp_ok(scalar keys %code, '>', 9, 'the modules are found');

for my $module (sort keys %code) {
    # Comments, quoted texts and words in qw() call nothing.
    my $calls = $code{$module} =~ s/(?:^|\s)#\s.*$//mgr =~ s/qw\([^)]*\)//gr =~ s/'[^'\n]*'//gr =~ s/"[^"\n]*"//gr;
    my %imported = map { $_ => 1 } grep { $module_of{$_} } map { split } $code{$module} =~ /^use (?:LsyncdAsCode::[\w:]+|Fcntl) +qw\(([^)]*)\)/mg;
    my %called = map { $_ => 1 } grep { $calls =~ /(?<![\$\@%>{\w:|])$_\b(?!\s*=>)/ && $module_of{$_} ne $module } keys %module_of;
    no strict 'refs';
    # Ignores functions and constants that the module itself defines.
    delete @called{ grep { !$imported{$_} && $calls =~ /^(?:(?:sub|use constant) \Q$_\E\b|\s*\Q$_\E\s+=>)/m } keys %called };
    is_deeply([ sort keys %called ], [ sort keys %imported ], "$module imports the functions it calls");
    unlike($code{$module}, qr/^use Fcntl(?: +qw\(.*:|;)/m, "$module imports constants of Fcntl by name");
}
done_testing();
