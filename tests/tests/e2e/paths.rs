//! Do transfers find out what fits through a narrow link, wherever on the way it is?

use anyhow::{Result, ensure};
use tests::lab::{Arms, Layout, Site};
use tests::needs_lab;

use crate::configuration::{Configuration, Method};
use crate::sites::counted;

const MIB: usize = 1 << 20;

/// A router behind the director cannot send the tunnel's packets on, and tells the director, which tells the client.
#[test]
fn an_upload_through_a_tunnel_fits_a_narrow_link_behind_the_director() -> Result<()> {
    needs_lab!(beside others);
    let mut site = Site::new(Layout {
        arms: Arms::Two,
        reals: 0,
        far: 1,
    })?;
    let configuration = Configuration::new(Arms::Two).with(Method::Tun, site.far.iter());
    site.balance(configuration.text())?;
    site.router.ip(&["link set far mtu 1400"])?;

    let vip = Method::Tun.vip();
    let file = site.file("1m", MIB)?;
    ensure!(site.upload("1m", vip)? == file, "the uploaded 1 MB differs");
    let route = site
        .client
        .run(&["ip", "route", "get", &vip.address().to_string()])?;
    ensure!(route.contains("mtu 1380"), "{route}");
    ensure!(counted(&site, "reject_tunnel")? > 0);
    Ok(())
}

/// A router before the client cannot send the real server's packets on, and tells the VIP; it is the real server that has to know.
#[test]
fn a_download_fits_a_narrow_link_to_the_client_by_each_method() -> Result<()> {
    needs_lab!(beside others);
    for method in Method::ALL {
        let far = u8::from(method == Method::Tun);
        let mut site = Site::new(Layout {
            arms: Arms::One,
            reals: 1 - far,
            far,
        })?;
        let reals = site.reals.iter().chain(&site.far);
        let configuration = Configuration::new(Arms::One).with(method, reals);
        site.balance(configuration.text())?;
        site.router.ip(&["link set outside mtu 1400"])?;

        let file = site.file("1m", MIB)?;
        let url = method.vip().url("/files/1m");
        ensure!(
            site.client.download(&url)? == file,
            "1 MB differs by {method:?}"
        );
    }
    Ok(())
}
