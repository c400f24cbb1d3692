"""The web page in a real browser, before the real service: what a person does, sees and takes away."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_core_python.selenium import Axe
from PIL import Image
from selenium.webdriver import ActionChains, Keys

from pure_detect.demo.scenes import LABELS, draw_scene
from pure_detect.draw.colors import palette
from tests import demo
from tests.browser import BROWSER, DRIVER, Browser, browser
from tests.loopback import Loopback, file, status
from tests.real_models import FASTEST, convert
from tests.service import Service, serve
from tests.tiny_networks import detector_file, quadrants

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs Chromium and its driver: apt-get install chromium chromium-driver"
)

DESKTOP, PHONE = (1280, 860), (390, 844)
ROT, GRUEN = (255, 60, 45), (30, 255, 120)  # the first two colours of the palette
SIZE = 320  # pixels of the picture's sides; its boxes are 80 wide, at (40, 40) and (200, 40)
SCENE = 127  # a seed whose objects all three demo networks are sure of
BOXES = {"rot": [40, 40, 80, 80], "grün": [200, 40, 80, 80]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two models of one network, and the picture in which they find a red and a green square."""
    made = tmp_path_factory.mktemp("page")
    (made / "names").write_text("rot\ngrün\n", encoding="utf-8")
    for name in ("tiny", "other"):
        detector_file(made, "--labels", str(made / "names"), name=name)
    Image.fromarray(quadrants(SIZE)).save(made / "squares.png")
    (made / "letter.jpg").write_text("no picture at all")
    return made


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    models = f"{folder / 'tiny.h5'},{folder / 'other.h5'}"
    with serve("--models", models, "--allow-address", "127.0.0.1", "--max-bytes", "1000000") as running:
        yield running


@pytest.fixture(scope="module")
def shapes() -> Iterator[Service]:
    with serve("--models", ",".join(demo.NAMES)) as running:
        yield running


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture
def page(opened: Browser, service: Service) -> Iterator[Browser]:
    """Yield the page as it is for newcomers; afterwards the browser must have had nothing to complain of."""
    opened.resize(*DESKTOP)
    opened.open(service.url)
    opened.js("sessionStorage.clear()")
    opened.open(service.url)
    opened.complaints()
    yield opened
    assert not [line for line in opened.complaints() if "/predict/v1" not in line]  # refusals are answers


def wait_for_answer(page: Browser) -> None:
    page.wait(lambda: page.find("copy").is_enabled() and not page.find("busy").is_displayed())


def wait_for_error(page: Browser) -> tuple[str, str]:
    """Return the code and the text of the error that appears."""
    page.wait(lambda: page.find("error").is_displayed())
    return page.find("error-code").text, page.find("error-text").text


def rows(page: Browser) -> list[str]:
    return [row.text.replace("\n", " ") for row in page.driver.find_elements("css selector", "#objects button")]


def slide(page: Browser, percent: int) -> None:
    """Move the slider with the keyboard, as the browser does it."""
    slider = page.find("score")
    at = int(slider.get_attribute("value"))
    slider.send_keys((Keys.ARROW_RIGHT if percent > at else Keys.ARROW_LEFT) * abs(percent - at))
    assert slider.get_attribute("value") == str(percent)


def asked(page: Browser) -> list[str]:
    """Return the predictions that the page has asked for."""
    return page.js(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
        ".filter(name => name.includes('/predict/v1'))"
    )


def pixel(page: Browser, x: float, y: float) -> tuple[int, ...]:
    """Return the canvas's colour at a place of the picture, in the picture's own pixels."""
    return tuple(
        page.js(
            "const c = document.getElementById('canvas'), s = c.width / arguments[2];"
            "const d = c.getContext('2d').getImageData(arguments[0] * s, arguments[1] * s, 1, 1).data;"
            "return [d[0], d[1], d[2]]",
            x,
            y,
            SIZE,
        )
    )


def close(found: tuple[int, ...], color: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(found, color)) <= 40


def has_box(page: Browser, box: list[float], color: tuple[int, int, int]) -> bool:
    """Return whether the four sides of a box are drawn in its colour."""
    x, y, width, height = box
    middle = x + 0.8 * width, y + height / 2
    sides = [(x, middle[1]), (x + width, middle[1]), (middle[0], y), (middle[0], y + height)]
    return all(close(pixel(page, *side), color) for side in sides)


def paste(page: Browser, kind: str, content: str) -> None:
    """Paste text, or with the kind of an image its bytes in base64, as the browser does on Ctrl+V."""
    page.js(
        "const [kind, content] = arguments, data = new DataTransfer();"
        "if (kind.startsWith('image/')) {"
        "  const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));"
        "  data.items.add(new File([bytes], 'image.png', {type: kind}));"
        "} else data.setData(kind, content);"
        "document.body.dispatchEvent(new ClipboardEvent('paste',"
        "  {clipboardData: data, bubbles: true, cancelable: true}))",
        kind,
        content,
    )


def encoded(kind: str, pixels: np.ndarray, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


# ---- a picture goes in


def test_a_dropped_picture_is_shown_with_its_boxes_in_the_colours_of_their_classes(page: Browser, folder: Path) -> None:
    page.drop(folder / "squares.png")
    wait_for_answer(page)
    assert rows(page) == ["rot 99 %", "grün 91 %"]
    assert page.find("status").text == "2 objects: rot, grün."
    assert has_box(page, BOXES["rot"], ROT)
    assert has_box(page, BOXES["grün"], GRUEN)
    assert close(pixel(page, 80, 300), (0, 0, 255))
    assert page.find("canvas").get_attribute("aria-label") == "squares.png: rot, 99 %, top left; grün, 91 %, top right"


def test_a_chosen_file_does_the_same_twice_in_a_row(page: Browser, folder: Path) -> None:
    for number in (1, 2):
        page.find("file").send_keys(str(folder / "squares.png"))
        page.wait(lambda number=number: len(asked(page)) == number)
        wait_for_answer(page)
        assert rows(page) == ["rot 99 %", "grün 91 %"]


def test_a_pasted_picture_is_looked_at(page: Browser, folder: Path) -> None:
    paste(page, "image/png", base64.b64encode((folder / "squares.png").read_bytes()).decode())
    wait_for_answer(page)
    assert rows(page) == ["rot 99 %", "grün 91 %"]


@pytest.mark.parametrize("way", ["typed", "pasted", "dropped"])
def test_an_address_is_fetched_by_the_service_and_its_picture_shown(page: Browser, folder: Path, way: str) -> None:
    with Loopback(file((folder / "squares.png").read_bytes())) as server:
        address = f"{server.url}/some/squares.png?size=1&x=a%20b"
        if way == "typed":
            page.find("address").send_keys(address, Keys.ENTER)
        elif way == "pasted":
            paste(page, "text/plain", address)
        else:
            page.drop(text=address)
        wait_for_answer(page)
        assert [request.path for request in server.requests] == ["/some/squares.png?size=1&x=a%20b"]
    assert page.find("address").get_attribute("value") == address
    assert rows(page) == ["rot 99 %", "grün 91 %"]
    assert has_box(page, BOXES["rot"], ROT)


@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_picture_that_was_stored_turned_is_shown_upright_under_its_boxes(
    page: Browser, tmp_path: Path, kind: str, suffix: str, orientation: int
) -> None:
    turns = {3: 2, 6: 1, 8: 3}[orientation]  # by which the stored picture has to be turned, clockwise for 6
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    path.write_bytes(encoded(kind, np.rot90(quadrants(SIZE), turns), exif=exif, quality=95))
    page.drop(path)
    wait_for_answer(page)
    assert [row.split()[0] for row in rows(page)] == ["rot", "grün"]
    assert close(pixel(page, 80, 300), (0, 0, 255))
    assert has_box(page, BOXES["rot"], ROT)


def test_of_an_animation_the_frame_is_shown_that_was_looked_at(page: Browser, tmp_path: Path) -> None:
    frames = [Image.fromarray(quadrants(SIZE)), Image.new("RGB", (SIZE, SIZE), "white")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=20, loop=0)
    page.drop(tmp_path / "a.gif")
    wait_for_answer(page)
    assert close(pixel(page, 80, 300), (0, 0, 255))
    assert has_box(page, BOXES["rot"], ROT)


def test_another_model_is_asked_about_the_same_picture(page: Browser, folder: Path) -> None:
    page.drop(folder / "squares.png")
    wait_for_answer(page)
    page.find("model").send_keys("other")
    page.wait(lambda: len(asked(page)) == 2)
    wait_for_answer(page)
    assert ["model=tiny" in asked(page)[0], "model=other" in asked(page)[1]] == [True, True]
    assert rows(page) == ["rot 99 %", "grün 91 %"]


def test_of_two_pictures_in_quick_succession_the_second_one_stays(page: Browser, folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "nothing.png")
    for _ in range(3):
        page.drop(folder / "squares.png")
        page.drop(tmp_path / "nothing.png")
    wait_for_answer(page)
    assert page.find("status").text == "None with a score of 50 % or more."
    assert close(pixel(page, 80, 300), (0, 0, 0))


# ---- filtering


def test_the_slider_filters_list_boxes_and_json_without_asking_the_service_again(page: Browser, folder: Path) -> None:
    page.drop(folder / "squares.png")
    wait_for_answer(page)
    slide(page, 95)
    assert rows(page) == ["rot 99 %"]
    assert page.find("status").text == "1 object: rot. 1 more below this score."
    assert not close(pixel(page, 200, 80), GRUEN)
    assert has_box(page, BOXES["rot"], ROT)
    assert len(json.loads(page.find("json").get_attribute("textContent"))) == 1
    slide(page, 5)
    assert rows(page) == ["rot 99 %", "grün 91 %"]
    assert has_box(page, BOXES["grün"], GRUEN)
    assert len(asked(page)) == 1


def test_the_slider_stays_where_it_was_when_the_page_is_loaded_again(page: Browser, service: Service) -> None:
    slide(page, 61)
    page.open(service.url)
    assert page.find("score-value").text == "61 %"


def test_an_object_that_is_chosen_stands_out_until_it_is_chosen_again(page: Browser, folder: Path) -> None:
    page.drop(folder / "squares.png")
    wait_for_answer(page)
    red, green = page.driver.find_elements("css selector", "#objects button")
    for pressed in ("true", "false"):
        red.click()
        ActionChains(page.driver).move_to_element(page.find("status")).perform()
        assert [red.get_attribute("aria-pressed"), green.get_attribute("aria-pressed")] == [pressed, "false"]
        assert has_box(page, BOXES["rot"], ROT)
        assert has_box(page, BOXES["grün"], GRUEN) == (pressed == "false")


# ---- taking away


def test_the_copied_json_is_what_the_service_answers_at_that_score(
    page: Browser, service: Service, folder: Path
) -> None:
    page.cdp("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.drop(folder / "squares.png")
    wait_for_answer(page)
    for percent in (50, 95):
        slide(page, percent)
        page.find("copy").click()
        page.wait(lambda: page.find("copy").text == "Copied")
        copied = page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
        answer = service.post(f"/predict/v1?score={percent / 100}", (folder / "squares.png").read_bytes())
        assert json.loads(copied) == answer.json
        page.wait(lambda: page.find("copy").text == "Copy JSON")


def test_where_the_browser_gives_no_clipboard_the_json_is_laid_out_and_marked(page: Browser, folder: Path) -> None:
    page.drop(folder / "squares.png")
    wait_for_answer(page)
    page.js("navigator.clipboard.writeText = () => Promise.reject(new Error('denied'))")
    page.find("copy").click()
    page.wait(lambda: page.find("json").is_displayed())
    marked = json.loads(page.js("return getSelection().toString()"))
    assert [entry["label"] for entry in marked] == ["rot", "grün"]


def test_the_downloaded_png_is_the_whole_picture_with_the_boxes_that_are_shown(page: Browser, folder: Path) -> None:
    page.drop(folder / "squares.png")
    wait_for_answer(page)
    slide(page, 95)
    page.find("download").click()
    path = page.downloads / "squares-boxes.png"
    page.wait(path.exists)
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (SIZE, SIZE))
        image = image.convert("RGB")
        assert close(image.getpixel((110, 120)), ROT)
        assert not close(image.getpixel((200, 80)), GRUEN)


# ---- what goes wrong


def test_what_is_no_picture_is_said_in_the_services_words_and_the_page_goes_on(page: Browser, folder: Path) -> None:
    page.drop(folder / "squares.png")
    wait_for_answer(page)
    page.drop(folder / "letter.jpg")
    code, text = wait_for_error(page)
    assert code == "not_an_image"
    assert text == "Expected a JPEG, PNG, WebP, GIF or BMP image, found bytes of none of these"
    assert page.find("error").get_attribute("role") == "alert"
    assert [rows(page), page.find("copy").is_enabled(), page.find("canvas").is_displayed()] == [[], False, False]
    assert not page.find("retry").is_displayed()
    page.drop(folder / "squares.png")
    wait_for_answer(page)
    assert not page.find("error").is_displayed()
    assert rows(page) == ["rot 99 %", "grün 91 %"]


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("http://127.0.0.2/a.png", "address_not_public"),
        ("file:///etc/passwd", "url_scheme"),
        ("http://0x7f.1/", "url_host"),
        ("<script>alert(1)</script>", "url_scheme"),
    ],
)
def test_an_address_that_is_refused_is_said_by_its_code(page: Browser, address: str, code: str) -> None:
    page.find("address").send_keys(address, Keys.ENTER)
    assert wait_for_error(page)[0] == code


def test_an_address_without_its_picture_may_be_tried_again(page: Browser, folder: Path) -> None:
    with Loopback(status(404), file((folder / "squares.png").read_bytes())) as server:
        page.find("address").send_keys(f"{server.url}/a.png", Keys.ENTER)
        code, text = wait_for_error(page)
        assert (code, text.endswith("found status 404")) == ("answer_status", True)
        page.find("retry").click()
        wait_for_answer(page)
    assert rows(page) == ["rot 99 %", "grün 91 %"]


def test_a_service_that_has_gone_is_said_to_have_gone(opened: Browser, folder: Path) -> None:
    with serve("--models", str(folder / "tiny.h5")) as short:
        opened.resize(*DESKTOP)
        opened.open(short.url)
        assert short.stop() == 0
        opened.drop(folder / "squares.png")
        code, text = wait_for_error(opened)
    assert code == "no_answer"
    assert text.startswith("The service did not answer.")
    assert opened.find("retry").is_displayed()


# ---- for everybody


def test_everything_can_be_done_with_the_keyboard_alone(page: Browser, folder: Path) -> None:
    """From one stop of the Tab key to the next, no pointer anywhere."""

    def press(*keys: str) -> None:
        ActionChains(page.driver).send_keys(*keys).perform()

    def stop() -> str:
        press(Keys.TAB)
        return page.js("return document.activeElement.id || document.activeElement.textContent.trim()")

    assert [stop() for _ in range(3)] == ["Skip to the objects found", "choose", "address"]
    with Loopback(file((folder / "squares.png").read_bytes())) as server:
        press(f"{server.url}/a.png", Keys.ENTER)
        wait_for_answer(page)
    assert stop() == "Fetch"
    assert [stop() for _ in range(2)] == ["model", "score"]
    press(Keys.END)
    assert rows(page) == ["rot 99 %"]
    assert stop().startswith("rot")
    press(Keys.SPACE)
    assert page.js("return document.activeElement.getAttribute('aria-pressed')") == "true"
    assert stop() == "copy"
    press(Keys.ENTER)
    page.wait(lambda: page.find("copy").text != "Copy JSON")
    assert page.js("return getComputedStyle(document.activeElement).outlineStyle") != "none"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("screen", [DESKTOP, PHONE, (320, 568)], ids=["desktop", "phone", "small phone"])
def test_an_accessibility_audit_finds_nothing_in_any_state(
    page: Browser, folder: Path, screen: tuple[int, int], dark: bool
) -> None:
    page.resize(*screen, phone=screen != DESKTOP, dark=dark)
    found = {"empty": audit(page)}
    page.drop(folder / "squares.png")
    wait_for_answer(page)
    found["answered"] = audit(page)
    page.drop(folder / "letter.jpg")
    wait_for_error(page)
    found["error"] = audit(page)
    assert found == {"empty": [], "answered": [], "error": []}


def audit(page: Browser) -> list[str]:
    """Return what axe-core finds, and whether the page is wider than its screen."""
    found = [violation["help"] for violation in Axe().run(page.driver)["violations"]]
    wide = page.js("return document.documentElement.scrollWidth > innerWidth")
    return found + ["wider than the screen"] * wide


def test_on_a_phone_everything_can_be_hit_with_a_thumb(page: Browser, folder: Path) -> None:
    page.resize(*PHONE, phone=True)
    page.drop(folder / "squares.png")
    wait_for_answer(page)
    heights = page.js(
        "return [...document.querySelectorAll('button, select, input, summary')]"
        ".filter(e => e.offsetParent && e.type !== 'file').map(e => [e.id || e.textContent, e.offsetHeight])"
    )
    assert len(heights) > 8
    assert [name for name, height in heights if height < 36] == []
    assert page.js("return document.getElementById('canvas').getBoundingClientRect().width") <= PHONE[0]


def test_dark_mode_is_dark_and_light_mode_light(page: Browser) -> None:
    def brightness() -> float:
        color = page.js("return getComputedStyle(document.body).backgroundColor")
        return float(np.mean([int(part) for part in color[4:-1].split(",")]))

    light = brightness()
    page.resize(*DESKTOP, dark=True)
    assert (light > 200, brightness() < 50) == (True, True)


def test_nothing_outside_of_the_service_is_loaded_and_the_policy_forbids_it(
    page: Browser, service: Service, folder: Path
) -> None:
    page.drop(folder / "squares.png")
    wait_for_answer(page)
    loaded = page.js("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert len(loaded) >= 6
    assert [name for name in loaded if not name.startswith((service.url, "blob:"))] == []
    policy = service.get("/").headers["content-security-policy"]
    assert {"default-src 'self'", "img-src 'self' blob: data:"} <= set(policy.split("; "))
    for name in ("app.js", "drawing.js", "service.js", "style.css", "icon.svg"):
        assert service.get(f"/static/{name}").status == 200


def test_colours_are_those_of_the_command_line(page: Browser) -> None:
    colors = page.driver.execute_async_script(
        "const done = arguments[0];"
        "import('/static/drawing.js').then(m => done([...Array(81).keys()].map(i => m.classColor(i))))"
    )
    assert colors == [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in (*palette(), palette()[0])]


def test_in_a_crowd_the_best_objects_have_labels_and_none_lies_upon_another(page: Browser) -> None:
    """200 boxes, best first, on a picture of 600 x 400."""
    generator = np.random.default_rng(0)
    corners = generator.uniform(0, [500, 300], (200, 2))
    wanted = [
        [{"x": x, "y": y, "width": 90, "height": 90}, {"width": 80, "height": 20}] for x, y in corners.round(1).tolist()
    ]
    plates = page.driver.execute_async_script(
        "const [wanted, done] = arguments;"
        "import('/static/drawing.js').then(m => done(m.placePlates(wanted, {width: 600, height: 400})))",
        wanted,
    )
    x, y = np.array([[plate["x"], plate["y"]] for plate in plates if plate]).T
    apart = (abs(x[:, None] - x) >= 80) | (abs(y[:, None] - y) >= 20)
    assert (apart | np.eye(len(x), dtype=bool)).all()
    assert (x >= 0).all()
    assert (x <= 520).all()
    assert (y >= 0).all()
    assert (y <= 380).all()
    assert 0.1 < len(x) * 80 * 20 / (600 * 400) < 0.2
    assert all(plates[:3])


@pytest.mark.parametrize("name", demo.NAMES)
def test_a_drawn_scene_shows_its_shapes(name: str, opened: Browser, shapes: Service, tmp_path: Path) -> None:
    opened.resize(*DESKTOP)
    opened.open(shapes.url)
    opened.js("sessionStorage.clear()")
    opened.open(shapes.url)
    opened.find("model").send_keys(name)
    opened.drop(demo.scene_file(tmp_path, SCENE))
    wait_for_answer(opened)
    scene = draw_scene(SCENE)
    assert sorted(row.split()[0] for row in rows(opened)) == sorted(LABELS[i] for i in scene.class_ids)


@pytest.mark.shared_data
def test_a_photograph_shows_its_dog_bicycle_and_car(opened: Browser, data: Path, tmp_path: Path) -> None:
    model = convert(data, FASTEST, tmp_path / "yolo.h5")
    with serve("--models", str(model)) as real:
        opened.resize(*DESKTOP)
        opened.open(real.url)
        opened.js("sessionStorage.clear()")
        opened.open(real.url)
        opened.drop(data / "images" / "dog.jpg")
        wait_for_answer(opened)
        assert rows(opened) == ["dog 95 %", "bicycle 89 %", "car 84 %"]
