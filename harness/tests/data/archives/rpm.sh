#!/bin/sh
# Makes an RPM repository laid out as those of Enterprise Linux and Fedora, with rpmbuild, rpmsign and createrepo_c:
# rpm.sh KERNEL OUT GNUPGHOME. KERNEL is a folder with vmlinuz, config and lib/modules/RELEASE.
set -eu
kernel=$1 out=$2/9/BaseOS/x86_64/os
export GNUPGHOME="$3"
release=$(ls "$kernel/lib/modules")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/usr/lib/modules" "$out/Packages"
cp -r "$kernel/lib/modules/$release" "$work/root/usr/lib/modules/"
cp "$kernel/vmlinuz" "$kernel/config" "$work/root/usr/lib/modules/$release/"

# In the packages of a distribution a module is a file of kernel-modules-core or of kernel-modules.
spec() { # VERSION RELEASE
    cat <<EOF
Name: kernel
Version: $1
Release: $2
Summary: test
License: GPL-2.0
%global debug_package %{nil}
%global __os_install_post %{nil}
%global _build_id_links none
%global _binary_payload w1.zstdio
%description
test
%package core
Summary: image
%description core
test
%package modules-core
Summary: modules
%description modules-core
test
%package modules
Summary: modules
%description modules
test
%install
cp -r $work/root/. %{buildroot}
mkdir -p %{buildroot}/boot
touch %{buildroot}/boot/vmlinuz-$release
%files core
%ghost /boot/vmlinuz-$release
%dir /usr/lib/modules/$release
/usr/lib/modules/$release/vmlinuz
/usr/lib/modules/$release/config
/usr/lib/modules/$release/modules.*
%files modules-core
/usr/lib/modules/$release/kernel/drivers
/usr/lib/modules/$release/kernel/net
%files modules
/usr/lib/modules/$release/kernel/[a-ce-mo-z]*
EOF
}
spec 6.1.0 570.12.1.el9_6 >"$work/kernel.spec"
rpmbuild -bb --quiet --define "_topdir $work/build" --define "_rpmdir $out/Packages" \
    --define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' --target x86_64 "$work/kernel.spec" >&2
rpmsign --define "__gpg $(command -v gpg)" --define '_gpg_name archive@example.org' --addsign "$out"/Packages/*.rpm >/dev/null
createrepo_c --quiet "$out"
gpg --batch --quiet --armor --detach-sign "$out/repodata/repomd.xml"
